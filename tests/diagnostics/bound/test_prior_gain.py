"""Laws of the gain of a better prior: a known divergence."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.data import as_split
from ppvae.diagnostics import subject
from ppvae.diagnostics.bound.elbo_surgery import surgery
from ppvae.diagnostics.bound.prior_gain import prior_gain
from ppvae.errors import InputError
from tests.support.codes import coded, mixture
from tests.support.pca import pca

SIGMAS = 5.0


def normal(n: int, loc: float, scale: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return loc + scale * torch.randn(n, 2, generator=generator)


def test_a_prior_that_is_elsewhere_would_win_its_divergence() -> None:
    # The codes' law is N(loc, spread^2 + 0.6^2) in each of two dimensions.
    loc, spread = 0.8, 0.3
    pair, facts, rows = coded(normal(2000, loc, spread, 0))
    train = as_split(normal(8000, loc, spread, 1))
    found = prior_gain(pair, facts, train, rows, components=(1, 4))
    variance = spread**2 + 0.36
    kl = 2 * 0.5 * (variance + loc**2 - 1 - math.log(variance))
    assert abs(found.mean - kl) < SIGMAS * found.standard_error
    assert found.standard_error < 0.03
    assert tuple(found.gain.shape) == (2000,)
    assert found.components == 1
    assert set(found.scores) == {1, 4}
    assert (found.draws, found.fitted) == (4, 20_000)
    assert found.estimate.mean == pytest.approx(float(found.gain.mean()))


def test_each_datum_has_its_own_gain() -> None:
    codes = normal(50, 2.0, 0.5, 0)
    pair, facts, rows = coded(codes, 0.01)
    found = prior_gain(pair, facts, as_split(normal(4000, 2.0, 0.5, 1)), rows, components=(1,))
    better = dist.Normal(2.0, math.sqrt(0.25 + 1e-4)).log_prob(codes).sum(1)
    want = better - dist.Normal(0.0, 1.0).log_prob(codes).sum(1)
    assert float((found.gain - want).abs().max()) < 0.4  # at codes that differ by up to 9 nats
    assert float(want.std()) > 1


def test_the_prior_that_fits_wins_nothing() -> None:
    pair, facts, rows = coded(normal(2000, 0.0, 0.8, 0))  # 0.8^2 + 0.6^2 = 1
    found = prior_gain(pair, facts, as_split(normal(4000, 0.0, 0.8, 1)), rows, components=(1, 10))
    assert abs(found.mean) < SIGMAS * found.standard_error + 0.005
    assert found.scores[10] < found.scores[1] < 0.01
    # With few data all fitted densities are poor, and the prior is kept.
    found = prior_gain(
        pair, facts, as_split(normal(12, 0.0, 0.8, 1)), rows, components=(1, 10, 500)
    )
    assert found.components == 0
    assert bool((found.gain == 0).all())
    assert set(found.scores) == {1, 10}


def test_the_examined_data_have_no_say_in_the_density() -> None:
    generator = torch.Generator().manual_seed(5)
    signs = torch.where(torch.rand(3000, 1, generator=generator) < 0.5, -3.0, 3.0)
    pair, facts, near = coded(signs[:500].expand(-1, 2))
    train = as_split((signs[500:]).expand(-1, 2).contiguous())
    one = prior_gain(pair, facts, train, near, components=(1, 2))
    far = prior_gain(pair, facts, train, as_split(torch.full((40, 2), 9.0)), components=(1, 2))
    assert one.components == far.components == 2
    assert one.scores == far.scores
    # log r - log p at z = +-(3, 3) + 0.6 eps, with r a half of either.
    kl = 2 * (0.5 * (9 + 0.36 - 1) - math.log(0.6)) - math.log(2)
    assert abs(one.mean - kl) < SIGMAS * one.standard_error
    assert far.mean < 0


def test_fits_that_do_not_converge_are_silent() -> None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    pair, facts, rows = coded(torch.ones(20, 2), 1e-18)  # one point, over and over
    with pytest.warns(ConvergenceWarning):
        GaussianMixture(3).fit(torch.ones(20, 2).numpy())
    found = prior_gain(pair, facts, as_split(torch.ones(30, 2)), rows, components=(3,))
    assert found.components == 3


def test_a_gain_does_not_hang_on_the_units_of_the_latent() -> None:
    unit = 1e-4
    prior = dist.Normal(torch.zeros(2, dtype=torch.float64), unit).to_event(1)
    codes, more = normal(500, 1.0, 0.5, 0), normal(1000, 1.0, 0.5, 1)
    pair, facts, rows = coded(codes)
    one = prior_gain(pair, facts, as_split(more), rows, components=(1, 3))
    pair, facts, rows = coded(unit * codes, unit * 0.6, prior=lambda: prior)
    other = prior_gain(pair, facts, as_split(unit * more), rows, components=(1, 3))
    torch.testing.assert_close(one.gain, other.gain, rtol=1e-3, atol=1e-3)


def test_a_gain_is_a_function_of_the_seed_and_moves_nothing() -> None:
    p, train = pca(rows=30), pca(rows=60, seed=2).rows
    state, seen = torch.get_rng_state(), list[int]()
    one = prior_gain(p.pair, p.facts, train, p.rows, components=(1,), on_rows=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    assert p.pair.training
    torch.rand(3)
    again = prior_gain(p.pair, p.facts, train, p.rows, components=(1,))
    other = prior_gain(p.pair, p.facts, train, p.rows, components=(1,), seed=1)
    assert torch.equal(one.gain, again.gain)
    assert not torch.equal(one.gain, other.gain)
    assert sum(seen) == 10 * 60 + 4 * 30


def test_what_cannot_be_gained_is_refused() -> None:
    x = torch.randn(20, 2)
    pair, facts, rows = coded(x)
    train = as_split(torch.randn(20, 2))
    for arguments, match in (
        ({"draws": 0}, "draws is 0"),
        ({"components": ()}, r"components is \(\)"),
        ({"components": (0, 1)}, r"components is \(0, 1\)"),
    ):
        with pytest.raises(InputError, match=match):
            prior_gain(pair, facts, train, rows, **arguments)
    with pytest.raises(InputError, match="train and split are the same data"):
        prior_gain(pair, facts, rows, rows)
    with pytest.raises(InputError, match="train has 5 data"):
        prior_gain(pair, facts, as_split(x[:5]), rows)

    def positive(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.LogNormal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", torch.tensor(0.6))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(x, s).to_event(1))

    pair, facts, rows = subject(positive, guide, x)
    with pytest.raises(InputError, match="latent site 'z' has the support GreaterThan"):
        prior_gain(pair, facts, train, rows)


def test_a_mixture_for_a_prior_is_as_real_as_its_components() -> None:
    def prior() -> dist.TorchDistribution:
        return mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 1.0)

    pair, facts, rows = coded(normal(200, 0.0, 0.5, 0), prior=prior)
    found = prior_gain(pair, facts, as_split(normal(400, 0.0, 0.5, 1)), rows, components=(1,))
    assert found.mean > 0.1
    assert surgery(pair, facts, rows, draws=50).undivided.startswith("the model's distribution")
