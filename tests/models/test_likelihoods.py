"""Laws of every likelihood: it integrates to one, its draws have its moments, it stays finite."""

import copy
import math
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
from torch.func import functional_call

from ppvae.compilation.captured import Captured
from ppvae.distributions.grid import Grid
from ppvae.models import Likelihood, likelihoods, observe
from tests.support.columns import likelihood_of
from tests.support.likelihoods import (
    CASES,
    NAMES,
    decoded,
    drawn,
    every,
    every_second,
    made,
    measure,
)
from tests.support.slow import few


@every_second
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
    """The definition: a difference of cumulative probabilities, each from its nearer tail."""
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
    # The class attributes hold for its distributions.
    assert str(family.support) == str(likelihood.support) == str(likelihood(h).base_dist.support)
    assert family.params_per_element == likelihood.params_per_element
    assert family.levels == likelihood.levels


@every_second
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
    """Log p(x | z) as in a program: ``(..., batch)``."""
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
    if name != "PerColumn":  # its parameters are not in the order of elements
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
            tensor *= 2  # another value
    other = likelihood_of(name, (2, 3), **own).double().eval()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    h = decoded(one, 4)
    x = drawn(one, h)
    assert torch.equal(one(h).log_prob(x), other(h).log_prob(x))


@every
@pytest.mark.parametrize("dtype", few([torch.float32, torch.float64], 0))
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


def test_the_grid_takes_what_8_bit_images_become_and_nothing_between() -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    single = raw.to(torch.float32) / 255
    for x in (single, single.double(), raw.double() / 255):
        assert bool(Grid(256).check(x).all())
    assert not Grid(256).check(torch.tensor([-1 / 255, 0.5, 256 / 255, 0.3])).any()
    assert int(Grid(256).check(raw / 256).sum()) < 10
    fine = torch.arange(65536) / 65535
    assert bool(Grid(65536).check(fine).all())
    # Draws are bit by bit the values that are read.
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
