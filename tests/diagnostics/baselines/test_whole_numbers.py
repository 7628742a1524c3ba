"""Probabilities of whole numbers under a density: the mass of the step around each."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Tensor

from ppvae.data import Scaling
from ppvae.diagnostics import log_evidence, subject
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.diagnostics.baselines.whole_numbers import Binning, log_mass, steps_of
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.distributions.student_t import StudentT
from ppvae.errors import InputError

HALF = torch.tensor(0.5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_a_normal_gives_phi_at_either_side_also_far_away(scale: float) -> None:
    at = torch.tensor([-200.0, -3.0, 0.0, 1.0, 40.0])
    found = log_mass(dist.Normal(0.3, scale), at, HALF)
    for n, value in zip(at.tolist(), found.tolist(), strict=True):
        low, high = ((n + side - 0.3) / scale for side in (-0.5, 0.5))
        if low > 0:
            low, high = -high, -low
        exact = stats.norm.logcdf(high) + math.log1p(
            -math.exp(stats.norm.logcdf(low) - stats.norm.logcdf(high))
        )
        assert value == pytest.approx(exact, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "fn",
    [dist.Laplace(2.0, 3.0), StudentT(torch.tensor(4.0), torch.tensor(2.0), torch.tensor(3.0))],
)
def test_the_probabilities_of_all_whole_numbers_sum_to_one(fn: dist.TorchDistribution) -> None:
    every = torch.arange(-400.0, 401.0)
    assert float(log_mass(fn, every, HALF).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_density_that_ends_has_none_beyond_its_end() -> None:
    fn = ContinuousBernoulli(torch.tensor(2.0))
    levels = torch.arange(11.0) / 10
    found = log_mass(fn, levels, torch.tensor(0.05)).exp()
    assert float(found.sum()) == pytest.approx(1, abs=0.02)


def test_events_and_masks_are_summed_as_log_prob_sums_them() -> None:
    loc, x = torch.randn(3, 4), torch.randint(-2, 3, (3, 4)).float()
    mask = torch.rand(3, 4) < 0.5
    each = log_mass(dist.Normal(loc, 1.0), x, HALF)
    found = log_mass(dist.Normal(loc, 1.0).mask(mask).to_event(1), x, HALF)
    torch.testing.assert_close(found, each.where(mask, 0).sum(1))


def matrix(x: Tensor) -> Matrix:
    return Matrix(x, None, None, torch.arange(len(x)))


def test_whole_numbers_are_seen_through_their_scaling() -> None:
    torch.manual_seed(0)
    raw = torch.randint(0, 90, (50, 2)).float()
    loc, scale = (40.0, 45.0), (20.0, 25.0)
    x = (raw - torch.tensor(loc)) / torch.tensor(scale)
    scaling = Scaling("standardized", loc=loc, scale=scale)
    steps = steps_of(scaling, matrix(x))
    assert steps is not None
    assert torch.equal(steps.raw(matrix(x)).x, raw)
    torch.testing.assert_close(steps.half, torch.tensor([0.025, 0.02]).double())
    assert steps_of(scaling, matrix(x + 0.01)) is None


@pytest.mark.parametrize("low", [600.0, 5e4, 2e5])
def test_large_real_numbers_are_not_whole_and_large_counts_are(low: float) -> None:
    torch.manual_seed(0)
    reals = low + 100 * torch.rand(200, 3)
    assert steps_of(Scaling("as-is"), matrix(reals)) is None
    counts = reals.round()
    loc, scale = counts.mean(0), counts.std(0)
    scaling = Scaling("standardized", loc=tuple(loc.tolist()), scale=tuple(scale.tolist()))
    x = matrix((counts - loc) / scale)
    steps = steps_of(scaling, x)
    assert steps is not None
    assert torch.equal(steps.raw(x).x, counts)


def test_a_distribution_of_vectors_is_refused() -> None:
    fn = dist.MultivariateNormal(torch.zeros(2), torch.eye(2)).expand([2])
    with pytest.raises(InputError, match="MultivariateNormal"):
        log_mass(fn, torch.ones(2, 2), HALF)


def test_the_fits_probability_of_counts_is_that_of_its_exact_marginal() -> None:
    """X = z + noise, both standard normal, so that x is N(0, 2), with the posterior as guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(math.sqrt(0.5)))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, scale).to_event(1))

    x = torch.arange(-4.0, 5.0)[:, None]
    pair, audit, rows = subject(model, guide, x)
    with Binning("x", HALF, (1,)):
        found = log_evidence(pair, audit, rows, samples=4000)
    exact = log_mass(dist.Normal(0.0, math.sqrt(2.0)), x[:, 0], HALF)
    assert bool(((found.log_p - exact).abs() < 5 * found.error + 1e-3).all())
