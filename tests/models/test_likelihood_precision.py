"""Precision of log-probabilities: tails, small variances and large counts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions.binomial import Binomial
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.distributions.discretized_logistic import DiscretizedLogistic
from ppvae.distributions.gamma_ratio import log_gamma_ratio
from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.poisson import Poisson
from ppvae.distributions.student_t import StudentT
from ppvae.distributions.zero_inflated import ZeroInflated
from ppvae.models import Likelihood, likelihoods
from tests.support.likelihoods import decoded, every, made, measure


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
    # Scipy's Pochhammer symbol is the same by another method, until it overflows.
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
    """The sum over 784 elements, to 1e-3 nats on average over images and to 2e-3 nats each."""
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
    # With both probabilities, since scipy loses the digits of 1 - p near p = 1.
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
"""Families of counts by the logarithm of their mean, and the r of the last ones."""

counted = pytest.mark.parametrize("family", COUNTED.values(), ids=COUNTED.keys())


@counted
@pytest.mark.parametrize("mean", [3.0, 1e3, 1e4, 1e5, 1e6])
def test_single_precision_loses_nothing_of_large_counts(
    family: Callable[[Tensor], Any], mean: float
) -> None:
    torch.manual_seed(0)
    log_mean = math.log(mean) + 0.02 * torch.randn(1000)
    exact = family(log_mean.double())
    x = exact.sample().float()  # the counts in single precision
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
    # Scipy computes 1 - p of p = r / (r + m), which has no digits if m is far below r.
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
