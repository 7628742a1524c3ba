"""Laws of every likelihood: it adds up to one, draws what it claims, and stays finite."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from numpy.typing import NDArray
from pyro import poutine
from scipy import special, stats
from torch import Tensor, nn
from torch.distributions import constraints
from torch.func import functional_call

import ppvae.models
from ppvae.compilation.captured import Captured
from ppvae.distributions.binomial import Binomial
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.distributions.discretized_logistic import DiscretizedLogistic
from ppvae.distributions.gamma_ratio import log_gamma_ratio
from ppvae.distributions.grid import Grid
from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.poisson import Poisson
from ppvae.distributions.student_t import StudentT
from ppvae.distributions.zero_inflated import ZeroInflated
from ppvae.errors import InputError
from ppvae.models import Likelihood, likelihoods, observe
from tests.support.columns import likelihood_of
from tests.support.slow import few

ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "Binomial": ({}, {"total_count": 1}, {"total_count": 40}, {"total_count": 255}),
    "Categorical": ({}, {"classes": 3}),
    "ContinuousBernoulli": ({}, {"limit": 3.0}),
    "DiscretizedLogistic": ({}, {"levels": 2}, {"levels": 5}),
    "Gaussian": tuple(
        {"variance": v} for v in (0.25, "learned", "per-element", "optimal", "per-pixel")
    ),
    "Laplace": ({"scale": 0.5}, {"scale": "learned"}, {"scale": "per-element"}),
    "MixtureOfDiscretizedLogistics": ({}, {"components": 2, "levels": 6}),
    "NegativeBinomial": ({}, {"dispersion": "gene-cell"}),
    "PerColumn": ({}, {"families": {"0": "StudentT", "1": "ZeroInflated"}}),
    "StudentT": (
        {}, {"df": "learned", "scale": "learned"}, {"df": 1e6, "scale": 0.5},
        {"df": "per-element", "scale": "per-element"},
    ),
    "ZeroInflated": ({}, {"counts": "Poisson"}),
}  # fmt: skip
"""Arguments to try; a likelihood that is not here is tried with none."""

NAMES = [name for name in likelihoods.__all__ if name != "Likelihood"]
CASES = [(name, own) for name in NAMES for own in ARGUMENTS.get(name, ({},))]
every = pytest.mark.parametrize(("name", "own"), CASES, ids=[f"{n} {a or ''}" for n, a in CASES])


def made(name: str, own: dict[str, Any], shape: tuple[int, ...] = (2, 3)) -> Likelihood:
    """A likelihood in double precision, its parameters off their start, in evaluation."""
    likelihood = likelihood_of(name, shape, **own).double().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in likelihood.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return likelihood


def decoded(likelihood: Likelihood, *lead: int, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (*lead, *likelihood.decoder_shape)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


def drawn(likelihood: Likelihood, h: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    x: Tensor = likelihood(h).sample()
    return x


def measure(support: constraints.Constraint, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Points all over a support, and what each weighs in a sum or an integral: ``(points, ...)``.

    Args:
        support: of one element, or of the columns of a vector.
        centre: where the density of a real number may have a kink, of any shape.
    """
    if isinstance(support, constraints.cat):
        pairs = zip(support.cseq, centre.split(support.lengths, -1), strict=True)
        parts = [measure(own, middle) for own, middle in pairs]
        most = max(len(weight) for _, weight in parts)
        # The last point again and again, with no weight.
        every = [at.expand_as(w)[torch.arange(most).clamp(max=len(w) - 1)] for at, w in parts]
        shares = [torch.cat([w, w.new_zeros(most - len(w), *w.shape[1:])]) for _, w in parts]
        return torch.cat(every, -1), torch.cat(shares, -1)
    node, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(300))
    unit, share = (node + 1) / 2, weight / 2
    if isinstance(support, Grid):
        points = torch.arange(support.levels, dtype=torch.float64) / (support.levels - 1)
    elif support is constraints.boolean:
        points = torch.tensor([0.0, 1.0], dtype=torch.float64)
    elif isinstance(support, constraints.integer_interval):
        points = torch.arange(support.upper_bound + 1, dtype=torch.float64)
    elif support.is_discrete:
        points = torch.arange(4000, dtype=torch.float64)
    elif support is constraints.unit_interval:
        points = unit
    else:
        assert support is constraints.real
        half = unit / (1 - unit)
        points = torch.cat([-half, half])
        share = (share / (1 - unit).square()).repeat(2)
    shape = (-1, *(1,) * centre.dim())
    weights = torch.ones_like(points) if support.is_discrete else share
    start = centre if support is constraints.real else torch.zeros_like(centre)
    return points.reshape(shape) + start, weights.reshape(shape).expand(-1, *centre.shape)


@every
def test_it_adds_up_to_one_with_the_mean_and_the_entropy_of_its_draws(
    name: str, own: dict[str, Any]
) -> None:
    likelihood = made(name, own)
    elements = likelihood(decoded(likelihood)).base_dist
    x, weight = measure(likelihood.support, elements.mean)
    log_p = elements.log_prob(x).detach()
    mass = weight * log_p.exp()
    torch.testing.assert_close(mass.sum(0), torch.ones_like(mass[0]), rtol=1e-7, atol=0)
    torch.testing.assert_close(elements.mean, (mass * x).sum(0), rtol=1e-6, atol=1e-8)
    if "StudentT" not in str((name, own)):  # tails too long for the points
        square = (mass * (x - elements.mean).square()).sum(0)
        torch.testing.assert_close(elements.variance, square, rtol=1e-6, atol=1e-8)

    torch.manual_seed(0)
    n = 20_000
    draws = elements.sample((n,))
    assert bool(likelihood.support.check(draws).all())
    score = elements.log_prob(draws).detach()
    for sample, want in ((draws, elements.mean), (score, (mass * log_p).sum(0))):
        error = sample.std(0) / math.sqrt(n) + 1e-12
        assert bool(((sample.mean(0) - want).abs() < 5 * error).all())


def _logistic(x: NDArray[Any], h: NDArray[Any], levels: int = 256) -> Any:
    """By the textbook: a difference of cumulative probabilities, each taken from its own tail."""
    loc, scale = (1 + h[:, 0]) / 2, np.exp(10 * np.tanh(h[:, 1] / 10)) / 2
    k, step = np.round(x * (levels - 1)), 1 / (levels - 1)
    above = np.where(k == levels - 1, np.inf, (k + 0.5) * step)
    below = np.where(k == 0, -np.inf, (k - 0.5) * step)
    a, b = (below - loc) / scale, (above - loc) / scale
    upper = special.expit(-a) - special.expit(-b)
    with np.errstate(divide="ignore"):  # a component of a mixture may be far away
        return np.log(np.where(a > 0, upper, special.expit(b) - special.expit(a)))


def _mixture(x: NDArray[Any], h: NDArray[Any]) -> Any:
    weights = special.log_softmax(h[:, :10], axis=1)
    terms = [weights[:, i] + _logistic(x, h[:, [10 + i, 20 + i]]) for i in range(10)]
    return special.logsumexp(terms, axis=0)


def _negative_binomial(x: NDArray[Any], h: NDArray[Any], r: Any = 1.0) -> Any:
    mean = np.exp(20 * np.tanh(h[:, -1] / 20))
    return stats.nbinom.logpmf(x, r, r / (r + mean))


def _zero_inflated(x: NDArray[Any], h: NDArray[Any]) -> Any:
    gate = special.expit(h[:, 0])
    return np.log(gate * (x == 0) + (1 - gate) * np.exp(_negative_binomial(x, h)))


def _categorical(x: NDArray[Any], h: NDArray[Any]) -> Any:
    log_p = special.log_softmax(h, axis=1)
    return np.take_along_axis(log_p, x[:, None].astype(int), axis=1)[:, 0]


def _continuous_bernoulli(x: NDArray[Any], h: NDArray[Any]) -> Any:
    rate = 100 * np.tanh(h[:, 0] / 100)
    towards_one = stats.truncexpon.logpdf(1 - x, 1 * np.abs(rate), scale=1 / np.abs(rate))
    towards_zero = stats.truncexpon.logpdf(x, 1 * np.abs(rate), scale=1 / np.abs(rate))
    return np.where(rate > 0, towards_one, towards_zero)


SCIPY: dict[str, Callable[[NDArray[Any], NDArray[Any]], Any]] = {
    "Bernoulli": lambda x, h: stats.bernoulli.logpmf(x, special.expit(h[:, 0])),
    "Binomial": lambda x, h: stats.binom.logpmf(x, 16, special.expit(h[:, 0])),
    "Categorical": _categorical,
    "ContinuousBernoulli": _continuous_bernoulli,
    "DiscretizedLogistic": _logistic,
    "Gaussian": lambda x, h: stats.norm.logpdf(x, h[:, 0], math.sqrt(1.0001)),
    "Laplace": lambda x, h: stats.laplace.logpdf(x, h[:, 0], 1.0),
    "MixtureOfDiscretizedLogistics": _mixture,
    "NegativeBinomial": _negative_binomial,
    "Poisson": lambda x, h: stats.poisson.logpmf(x, np.exp(20 * np.tanh(h[:, 0] / 20))),
    "StudentT": lambda x, h: stats.t.logpdf(x, 4.0, h[:, 0], 1.0),
    "ZeroInflated": _zero_inflated,
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "PerColumn"])
def test_it_is_scipys_with_the_arguments_of_its_class(name: str) -> None:
    family: type[Likelihood] = getattr(likelihoods, name)
    likelihood = family((2, 3)).double()
    h = decoded(likelihood, 40, size=2.0)
    x = drawn(likelihood, h)
    want = SCIPY[name](x.numpy(), h.numpy()).sum((1, 2))
    np.testing.assert_allclose(likelihood(h).log_prob(x).detach().numpy(), want, rtol=1e-9)
    # What is said of the class is true of what it makes.
    assert str(family.support) == str(likelihood.support) == str(likelihood(h).base_dist.support)
    assert family.params_per_element == likelihood.params_per_element
    assert family.levels == likelihood.levels


@every
def test_its_gradient_is_that_of_finite_differences(name: str, own: dict[str, Any]) -> None:
    likelihood = made(name, own, (3,)).train()
    h = decoded(likelihood, 2).requires_grad_()
    x = drawn(likelihood, h.detach())
    own_parameters = dict(likelihood.named_parameters())

    def total(h: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(own_parameters, values, strict=True))
        log_prob: Tensor = functional_call(likelihood, parameters, (h,)).log_prob(x)
        return log_prob.sum()

    assert torch.autograd.gradcheck(total, (h, *own_parameters.values()))


def site(likelihood: Likelihood, h: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log p(x | z) as a program has it: ``(..., batch)``."""
    with pyro.plate("data", len(x)):
        trace: Any = poutine.trace(observe).get_trace(x, likelihood(h), mask)
    trace.compute_log_prob()
    log_prob: Tensor = trace.nodes["x"]["log_prob"]
    return log_prob


@every
@pytest.mark.parametrize("training", [True, False])
def test_missing_entries_have_no_effect(name: str, own: dict[str, Any], training: bool) -> None:
    likelihood = made(name, own).train(training)
    h = decoded(likelihood, 4).requires_grad_()
    x = drawn(likelihood, h.detach())
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    seen = site(likelihood, h, x, mask)
    other = site(likelihood, h, torch.where(mask, x, torch.nan), mask)
    assert torch.equal(seen, other)
    (slope,) = torch.autograd.grad(other.sum(), h)
    if name != "PerColumn":  # whose numbers do not stand beside their elements
        blind = ~mask[:, None].expand(h.shape)
        assert bool((slope[blind] == 0).all())
    assert bool(slope.isfinite().all())
    if not (training and own == {"variance": "optimal"}):
        alone = likelihood(h).base_dist.log_prob(x)
        torch.testing.assert_close(seen, (alone * mask).flatten(1).sum(1))
    assert bool((site(likelihood, h, x, torch.zeros_like(mask)) == 0).all())


@every
def test_particles_and_plates_stand_outside(name: str, own: dict[str, Any]) -> None:
    likelihood = made(name, own)
    h = decoded(likelihood, 3, 4)
    x = drawn(likelihood, h)[0]
    with pyro.plate("particles", 3, dim=-2):
        together = site(likelihood, h, x)
    shape = likelihood.data_shape
    assert tuple(likelihood(h).event_shape) == shape
    assert tuple(likelihood(h).batch_shape) == (3, 4)
    assert tuple(likelihood(h).mean.shape) == (3, 4, *shape)
    for i in range(3):
        torch.testing.assert_close(together[i], site(likelihood, h[i], x))
    # Equal elements, expanded as a plate does it.
    one = likelihood(h[0, :1])
    torch.testing.assert_close(one.expand((4,)).log_prob(x), one.log_prob(x))
    torch.manual_seed(0)
    assert tuple(one.expand((7, 1)).sample((2,)).shape) == (2, 7, 1, *shape)


@every
def test_its_state_is_all_that_it_is(name: str, own: dict[str, Any]) -> None:
    one = made(name, own)
    with torch.no_grad():
        for tensor in one.state_dict().values():
            tensor *= 2  # as if it had moved
    other = likelihood_of(name, (2, 3), **own).double().eval()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    h = decoded(one, 4)
    x = drawn(one, h)
    assert torch.equal(one(h).log_prob(x), other(h).log_prob(x))


@every
@pytest.mark.parametrize("dtype", few([torch.float32, torch.float64], 2))
def test_no_output_of_a_decoder_makes_it_infinite(
    name: str, own: dict[str, Any], dtype: torch.dtype
) -> None:
    likelihood = made(name, own).to(dtype)
    shape = likelihood.data_shape
    edges = measure(likelihood.support, torch.zeros(shape))[0].to(dtype)
    edges = edges.where(edges.abs() < 100, torch.nan)
    middle = edges.nanmedian(0).values
    ends = edges.where(edges.isfinite(), middle)
    values = torch.stack([ends.amin(0), middle, ends.amax(0)]).expand(3, *shape)
    for size in (0.0, 30.0, 1e6):
        for sign in (1, -1, None):
            noise = decoded(likelihood, 3).to(dtype) if sign is None else torch.full_like(
                decoded(likelihood, 3), sign, dtype=dtype
            )  # fmt: skip
            h = (size * noise).requires_grad_()
            fn = likelihood(h)
            for x in (drawn(likelihood, h.detach()), values):
                assert bool(likelihood.support.check(x).all())
                log_p = fn.log_prob(x)
                assert log_p.dtype == fn.mean.dtype == x.dtype == dtype
                learned = [h, *likelihood.parameters()]
                slopes = torch.autograd.grad(log_p.sum(), learned, retain_graph=True)
                assert all(bool(t.isfinite().all()) for t in (log_p, fn.mean, *slopes))
            spread = fn.variance
            (slope,) = torch.autograd.grad(spread.sum() + 0 * h.sum(), h)
            assert all(bool(t.isfinite().all()) for t in (spread, slope))
            assert bool((spread >= 0).all())


@pytest.mark.parametrize("x", [0.0, 0.4, 1.0])
def test_no_digits_are_lost_in_either_tail_in_single_precision(x: float) -> None:
    value = torch.tensor([round(x * 255) / 255])
    loc, log_scale = torch.meshgrid(
        torch.linspace(-1e3, 1e3, 41), torch.linspace(-8.0, 8.0, 17), indexing="ij"
    )
    h = torch.stack([loc.flatten(), log_scale.flatten()], 1)[..., None]
    for family in (likelihoods.DiscretizedLogistic, likelihoods.ContinuousBernoulli):
        likelihood: Likelihood = family((1,))
        part = h[:, : likelihood.params_per_element]
        exact = likelihood.double()(part.double()).log_prob(value.double())
        torch.testing.assert_close(
            likelihood.float()(part).log_prob(value).double(), exact, rtol=1e-5, atol=2e-5
        )


def test_a_small_variance_keeps_its_digits_in_single_precision() -> None:
    loc = torch.linspace(-0.2, 1.2, 141)[:, None]
    scale = torch.logspace(-4, 1, 21)
    grey = DiscretizedLogistic(loc, scale)
    exact = DiscretizedLogistic(loc.double(), scale.double()).variance
    torch.testing.assert_close(grey.variance.double(), exact, rtol=1e-3, atol=1e-9)
    logits = torch.linspace(-200, 200, 4001)
    single = ContinuousBernoulli(logits).variance.double()
    exact = ContinuousBernoulli(logits.double()).variance
    torch.testing.assert_close(single, exact, rtol=1e-4, atol=0)
    # By Gauss and Legendre, on both sides of where the series ends, and at 0.
    near = torch.linspace(-3, 3, 61, dtype=torch.float64)
    x, weight = measure(constraints.unit_interval, near)
    fn = ContinuousBernoulli(near)
    want = (weight * fn.log_prob(x).exp() * (x - fn.mean).square()).sum(0)
    torch.testing.assert_close(fn.variance, want, rtol=1e-13, atol=0)


def test_a_ratio_of_gamma_functions_is_exact_where_its_logarithms_are_large() -> None:
    a = torch.logspace(-4, 6, 101, dtype=torch.float64)[:, None]
    b = torch.tensor([0.0, 0.5, 1.0, 7.0, 100.0, 3000.0], dtype=torch.float64)
    # Of Pochhammer's symbol scipy makes the same, by other means, until it overflows.
    small = (b <= 7).expand(len(a), -1)
    want = torch.from_numpy(np.log(special.poch(a.numpy(), b.numpy()[None, :4])))
    torch.testing.assert_close(log_gamma_ratio(a, b)[small], want.flatten(), rtol=1e-9, atol=1e-11)
    single = log_gamma_ratio(a.float(), b.float()).double()
    torch.testing.assert_close(single, log_gamma_ratio(a, b), rtol=1e-5, atol=2e-5)
    back = log_gamma_ratio(a + b, -b)
    torch.testing.assert_close(back, -log_gamma_ratio(a, b), rtol=1e-9, atol=1e-8)
    ends = [t.clone().requires_grad_() for t in torch.broadcast_tensors(a, b)]
    slopes = torch.autograd.grad(log_gamma_ratio(*ends).sum(), ends)
    top, start = torch.digamma(a + b), torch.digamma(a)
    torch.testing.assert_close(slopes[0], top - start, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(slopes[1], top, rtol=1e-8, atol=1e-9)


@every
@pytest.mark.parametrize("size", [0.05, 1.0, 4.0])
def test_an_image_has_its_log_probability_in_single_precision(
    name: str, own: dict[str, Any], size: float
) -> None:
    """Of 784 elements, to 1e-3 nats on average over images, and to 2e-3 nats each."""
    likelihood = made(name, own, (784,))
    h = decoded(likelihood, 40, size=size).float()
    exact = likelihood(h.double())
    x = exact.sample().float()
    with torch.no_grad():
        want = exact.log_prob(x.double())
        lost = likelihood.float()(h).log_prob(x).double() - want
    assert float(lost.mean().abs()) < 1e-3
    assert float(lost.abs().max()) < 2e-3


@pytest.mark.parametrize("trials", [1, 16, 19, 20, 21, 255, 1000])
def test_the_binomial_is_scipys_at_every_count_and_so_are_its_slopes(trials: int) -> None:
    x = torch.arange(trials + 1, dtype=torch.float64)
    logits = torch.linspace(-25, 25, 41, dtype=torch.float64)[:, None].requires_grad_()
    found = Binomial(trials, logits).log_prob(x)
    # Of both probabilities, since scipy has no digits of 1 - p where p is near 1.
    p, q = special.expit(logits.detach().numpy()), special.expit(-logits.detach().numpy())
    counts = x.numpy()
    want = np.where(
        p < 0.5,
        stats.binom.logpmf(counts, trials, p),
        stats.binom.logpmf(trials - counts, trials, q),
    )
    np.testing.assert_allclose(found.detach().numpy(), want, rtol=1e-11, atol=1e-9)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    expected = (x - trials * logits.detach().sigmoid()).sum(1, keepdim=True)
    torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-7)
    single = logits.detach().float().requires_grad_()
    (slope,) = torch.autograd.grad(Binomial(trials, single).log_prob(x.float()).sum(), single)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=1e-5 * trials**2)


COUNTED: dict[str, Callable[[Tensor], Any]] = {
    "Poisson": lambda log_mean: Poisson(log_mean.exp()),
    "ZeroInflated": lambda log_mean: ZeroInflated(Poisson(log_mean.exp()), 0 * log_mean),
} | {
    f"NegativeBinomial {r:g}": lambda log_mean, r=r: NegativeBinomial(
        log_mean, torch.full_like(log_mean, math.log(r))
    )
    for r in (1e-4, 0.5, 3.0, 9.9, 10.0, 400.0, 2.2e4)
}
"""Families of counts by the logarithm of their mean; of the last, the r of each."""

counted = pytest.mark.parametrize("family", COUNTED.values(), ids=COUNTED.keys())


@counted
@pytest.mark.parametrize("mean", [3.0, 1e3, 1e4, 1e5, 1e6])
def test_single_precision_loses_nothing_of_large_counts(
    family: Callable[[Tensor], Any], mean: float
) -> None:
    torch.manual_seed(0)
    log_mean = math.log(mean) + 0.02 * torch.randn(1000)
    exact = family(log_mean.double())
    x = exact.sample().float()  # the counts that single precision holds
    lost = family(log_mean).log_prob(x).double() - exact.log_prob(x.double())
    assert float(lost.sum().abs()) < 0.02, "nats of a datum of 1,000 elements"
    assert float(lost.abs().max()) < 1e-3


def test_counts_of_any_size_about_means_of_any_size_are_scipys() -> None:
    x = torch.logspace(0, 7, 57, dtype=torch.float64).round() - 1
    log_mean = torch.linspace(-15, 15, 61, dtype=torch.float64)[:, None]
    mean = log_mean.exp().numpy()
    log_r = torch.linspace(-9, 10, 39, dtype=torch.float64)[:, None, None]
    r = log_r.exp().numpy()
    found = Poisson(log_mean.exp()).log_prob(x).numpy()
    np.testing.assert_allclose(found, stats.poisson.logpmf(x.numpy(), mean), rtol=1e-12, atol=3e-8)
    # Scipy has 1 - p of p = r / (r + m), and so no digits where m is far below r.
    is_told = np.broadcast_to(mean > 1e-3 * r, (39, 61, 1))[..., 0]
    found = NegativeBinomial(log_mean, log_r).log_prob(x).numpy()[is_told]
    want = stats.nbinom.logpmf(x.numpy(), r, r / (r + mean))[is_told]
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=2e-7)


@counted
def test_gradients_hold_from_one_way_of_counting_to_the_other(
    family: Callable[[Tensor], Any],
) -> None:
    x = torch.tensor([0.0, 1.0, 9.0, 10.0, 11.0, 40.0, 500.0], dtype=torch.float64)
    log_mean = torch.tensor([-3.0, 0.0, 2.2, 2.4, 5.0, 7.0], dtype=torch.float64)[:, None]
    assert torch.autograd.gradcheck(
        lambda log_mean: family(log_mean).log_prob(x), log_mean.requires_grad_(), atol=1e-4
    )
    far, counts = torch.linspace(-20, 20, 41)[:, None], torch.logspace(0, 7, 57).round() - 1
    single, double = (
        torch.autograd.functional.jacobian(
            lambda log_mean, x=x: family(log_mean).log_prob(x).sum(0), log_mean
        )
        for log_mean, x in ((far, counts), (far.double(), counts.double()))
    )
    size = (far.exp() + counts).T[..., None]
    assert bool(((single - double).abs() <= 1e-5 * size + 1e-6).all())


def test_the_dispersion_of_large_counts_has_the_gradient_of_finite_differences() -> None:
    x = torch.tensor([0.0, 9.0, 10.0, 300.0], dtype=torch.float64)
    log_r = torch.tensor([-5.0, 0.0, 2.25, 2.35, 5.0, 9.0], dtype=torch.float64)[:, None]
    log_mean = torch.tensor([-3.0, 2.3, 6.0], dtype=torch.float64)[:, None, None]

    def log_prob(log_r: Tensor) -> Tensor:
        found: Tensor = NegativeBinomial(log_mean, log_r).log_prob(x)
        return found

    assert torch.autograd.gradcheck(log_prob, log_r.requires_grad_(), atol=1e-5)


def test_with_many_degrees_of_freedom_and_little_dispersion_the_simpler_families_remain() -> None:
    x = torch.linspace(-3, 3, 7)
    many = StudentT(torch.tensor(1e7), torch.zeros(()), torch.ones(()))
    want = torch.from_numpy(stats.norm.logpdf(x.numpy())).float()
    torch.testing.assert_close(many.log_prob(x), want, rtol=0, atol=3e-6)
    counts = likelihoods.NegativeBinomial((1,))
    nn.init.constant_(counts.log_r, 50.0)  # r is then exp(10), and a count's variance off by m / r
    n = torch.arange(8.0)[:, None]
    h = torch.zeros(1, 1, 1)
    torch.testing.assert_close(
        counts(h).log_prob(n), likelihoods.Poisson((1,))(h).log_prob(n), rtol=0, atol=1e-3
    )


def test_the_grid_takes_what_8_bit_images_become_and_nothing_between() -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    single = raw.to(torch.float32) / 255
    for x in (single, single.double(), raw.double() / 255):
        assert bool(Grid(256).check(x).all())
    assert not Grid(256).check(torch.tensor([-1 / 255, 0.5, 256 / 255, 0.3])).any()
    assert int(Grid(256).check(raw / 256).sum()) < 10
    fine = torch.arange(65536) / 65535
    assert bool(Grid(65536).check(fine).all())
    # What is drawn is bit by bit what is read.
    draws = likelihoods.DiscretizedLogistic((1000,))(torch.zeros(2, 1000)).sample()
    assert bool(torch.isin(draws, single).all())


class Scored(nn.Module):
    """Minus log p(x | h), with h to be learned."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.h = nn.Parameter(decoded(likelihood, 5))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return -site(self.likelihood, self.h, x, mask).sum()


KINDS = [(n, a) for n, a in CASES if not a or any(isinstance(v, str) for v in a.values())]


@pytest.mark.parametrize(("name", "own"), few(KINDS, 8), ids=[f"{n} {a or ''}" for n, a in KINDS])
def test_captured_it_is_what_it_was(name: str, own: dict[str, Any]) -> None:
    likelihood = made(name, own).train()
    x = drawn(likelihood, decoded(likelihood, 5))
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    eager, twin = Scored(likelihood), Scored(copy.deepcopy(likelihood))
    captured = Captured(twin, compile=False)
    for _ in range(2):
        losses = eager(x, mask), captured(x, mask)
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
    assert not captured.reason
    for p, q in zip(eager.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    for one, other in zip(eager.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(one, other)


SENTENCES: dict[str, Callable[[], Any]] = {
    "is 'learnt'; give a number above 0, 'learned', 'per-element', 'optimal' or 'per-pixel'":
        lambda: likelihoods.Gaussian((3,), "learnt"),  # type: ignore[arg-type]  # to be refused
    "variance` is -1": lambda: likelihoods.Gaussian((3,), -1.0),
    "variance` is nan": lambda: likelihoods.Gaussian((3,), math.nan),
    "variance` is 0.0": lambda: likelihoods.Gaussian((3,), variance=0.0),
    "floor` is 0.0; a variance needs a floor": lambda: likelihoods.Gaussian((3,), floor=0.0),
    "floor` is 0": lambda: likelihoods.Gaussian((3,), "optimal", floor=0.0),
    "floor` is -1": lambda: likelihoods.Gaussian((3,), "per-pixel", floor=-1.0),
    "momentum` is 0": lambda: likelihoods.Gaussian((3,), "optimal", momentum=0.0),
    "each datum has its own": lambda: likelihoods.Gaussian((3,), "per-pixel").variance,
    "scale` is 0": lambda: likelihoods.Laplace((3,), scale=0.0),
    "scale` is 'big'; give a number above 0, 'learned' or 'per-element'":
        lambda: likelihoods.Laplace((3,), scale="big"),  # type: ignore[arg-type]  # to be refused
    "floor` is nan; a scale needs a floor": lambda: likelihoods.StudentT((3,), floor=math.nan),
    "df` is 1.0; Student's t has no mean": lambda: likelihoods.StudentT((3,), df=1.0),
    "total_count` is 0": lambda: likelihoods.Binomial((3,), total_count=0),
    "classes` is 1": lambda: likelihoods.Categorical((3,), classes=1),
    "limit` is 0": lambda: likelihoods.ContinuousBernoulli((3,), limit=0.0),
    "levels` is 1": lambda: likelihoods.DiscretizedLogistic((3,), levels=1),
    "levels` is 65537": lambda: likelihoods.MixtureOfDiscretizedLogistics((3,), levels=65537),
    "components` is 0": lambda: likelihoods.MixtureOfDiscretizedLogistics((3,), components=0),
    "counts` is 'Binomial'; take one of Poisson, NegativeBinomial":
        lambda: likelihoods.ZeroInflated((3,), counts="Binomial"),  # type: ignore[arg-type]  # to be refused
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_is_no_argument_is_refused(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        SENTENCES[sentence]()


@pytest.mark.parametrize("name", ["Laplace", "StudentT"])
def test_a_name_that_means_two_things_is_answered_with_both(name: str) -> None:
    both = f"models.priors.{name} or ppvae.models.likelihoods.{name}"
    with pytest.raises(AttributeError, match=both):
        getattr(ppvae.models, name)
    assert not hasattr(ppvae.models, name)
    assert hasattr(ppvae.models.priors, name)
    assert hasattr(ppvae.models.likelihoods, name)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = ppvae.models.Nothing
