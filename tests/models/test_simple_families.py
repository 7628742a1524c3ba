"""The standard normal, Bernoulli and Gaussian equal SciPy's; densities integrate to one."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ppvae.models import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood, StandardNormal


def decoded(likelihood: Likelihood, n: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return 2 * torch.randn(n, *likelihood.decoder_shape, generator=generator, dtype=torch.float64)


def test_the_bernoulli_is_scipys() -> None:
    likelihood = Bernoulli((2, 3)).double()
    h = decoded(likelihood, 4)
    x = (torch.rand(4, 2, 3) < 0.5).double()
    want = stats.bernoulli.logpmf(x.numpy(), torch.sigmoid(h[:, 0]).numpy()).sum((1, 2))
    np.testing.assert_allclose(likelihood(h).log_prob(x).numpy(), want, rtol=1e-10)
    assert tuple(likelihood(h).event_shape) == (2, 3)


def test_the_gaussian_is_scipys_and_its_number_is_a_variance() -> None:
    likelihood = Gaussian((2, 3), variance=0.25).double()
    h = decoded(likelihood, 4)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    want = stats.norm.logpdf(x.numpy(), h[:, 0].numpy(), 0.5).sum((1, 2))
    np.testing.assert_allclose(likelihood(h).log_prob(x).numpy(), want, rtol=1e-10)


@pytest.mark.parametrize("logit", [-6.0, -0.7, 0.0, 1e-3, 3.0, 12.0])
def test_the_continuous_bernoulli_is_a_density_with_its_mean(logit: float) -> None:
    likelihood = ContinuousBernoulli((1,)).double()
    h = torch.full((1, 1, 1), logit, dtype=torch.float64)
    grid, weight = np.polynomial.legendre.leggauss(80)
    x = torch.from_numpy(0.5 * (grid + 1))[:, None]
    density = likelihood(h).log_prob(x).exp().numpy() * 0.5 * weight
    assert density.sum() == pytest.approx(1.0, rel=1e-5)
    mean = (density * x[:, 0].numpy()).sum()
    assert likelihood(h).mean.item() == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("family", [Bernoulli, ContinuousBernoulli, Gaussian])
def test_draws_are_in_the_support_with_the_mean_that_is_claimed(family: type[Likelihood]) -> None:
    likelihood = family((2, 3)).double()
    fn = likelihood(decoded(likelihood)[0])
    torch.manual_seed(0)
    n = 20_000
    x = fn.sample((n,))
    assert bool(likelihood.support.check(x).all())
    error = x.std(0) / math.sqrt(n)
    assert bool(((x.mean(0) - fn.mean).abs() < 5 * error).all())


def test_supports_tell_grey_from_black_and_white() -> None:
    x = torch.tensor([0.0, 1.0, 0.5, -0.1, 3.0])
    assert Bernoulli((5,)).support.check(x).tolist() == [True, True, False, False, False]
    assert ContinuousBernoulli((5,)).support.check(x).tolist() == [True, True, True, False, False]
    assert Gaussian((5,), variance=1.0).support.check(x).all()


@pytest.mark.slow
def test_a_learned_variance_starts_at_one_finds_the_mean_square_and_keeps_its_floor() -> None:
    likelihood = Gaussian((50,), variance="learned", floor=1e-2).double()
    assert float(likelihood.variance.detach()) == pytest.approx(1.01)
    torch.manual_seed(0)
    x = 3 * torch.randn(40, 50, dtype=torch.float64)
    for data, want in ((x, float(x.square().mean())), (torch.zeros_like(x), 1e-2)):
        optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.5)
        for _ in range(600):
            optimizer.zero_grad()
            (
                -likelihood(torch.zeros(40, 1, 50, dtype=torch.float64)).log_prob(data).mean()
            ).backward()
            optimizer.step()
        assert float(likelihood.variance.detach()) == pytest.approx(want, rel=2e-2)
        assert float(likelihood.variance.detach()) >= 1e-2
    assert not list(Gaussian((50,), variance=2.0).parameters())
    assert "fixed" not in Gaussian((50,), variance=2.0).state_dict()


def test_the_prior_is_the_standard_normal() -> None:
    z = torch.randn(6, 3, dtype=torch.float64)
    fn = StandardNormal(3).double()()
    np.testing.assert_allclose(
        fn.log_prob(z).numpy(), stats.norm.logpdf(z.numpy()).sum(1), rtol=1e-12
    )
    assert (tuple(fn.batch_shape), tuple(fn.event_shape)) == ((), (3,))
    assert not StandardNormal(3).state_dict()
