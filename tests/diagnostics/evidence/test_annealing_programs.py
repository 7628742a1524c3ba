"""Annealing of programs of every kind: bounded latents, plates, several latents, mixtures."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.evidence import hmc
from ppvae.diagnostics.evidence.annealing import anneal
from ppvae.diagnostics.evidence.hmc import Start
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from tests.support.annealed import SIGMAS, STARTS, rates, short_pilot, story, unbiased
from tests.support.pca import pca

__all__ = ["short_pilot"]  # fixtures

# Other programs.


@pytest.mark.parametrize("start", STARTS)
def test_a_positive_latent_goes_through_its_bijection(start: Start, short_pilot: None) -> None:
    x = torch.arange(6.0).repeat(20)
    it = rates(x)
    found = anneal(
        *it,
        temperatures=4,
        chains=500,
        leapfrog=2,
        start=start,
        batch_size=len(x),
    )
    exact = dist.NegativeBinomial(torch.tensor(2.0), probs=torch.tensor(1 / 2.5)).log_prob(x)
    assert unbiased(found, exact)
    assert bool(((found.log_p - exact).abs() < SIGMAS * found.error).all())


def test_plates_beside_the_data_and_latents_in_them(short_pilot: None) -> None:
    """z_ij ~ Exponential(1) and x_ij ~ Poisson(z_ij), geometric, with the data's plate outermost"""
    x = torch.randint(0, 4, (60, 3), generator=torch.Generator().manual_seed(0)).float()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            shift = pyro.sample("shift", dist.Normal(torch.zeros(1), 1.0))
            with pyro.plate("columns", 3, dim=-1):
                z = pyro.sample("z", dist.Exponential(torch.tensor(1.0)))
                pyro.sample("x", dist.Poisson(z + 0 * shift), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("shift", dist.Normal(torch.zeros(1), 1.0))
            with pyro.plate("columns", 3, dim=-1):
                pyro.sample("z", dist.LogNormal(0 * x, 1.0))

    it = story(model, guide, x)
    found = anneal(*it, temperatures=6, chains=200, leapfrog=3)
    assert unbiased(found, -(x + 1).sum(1) * math.log(2))


def test_a_bijection_may_change_the_shape_of_an_event(short_pilot: None) -> None:
    """Shares on the simplex have one number less in unconstrained space."""
    x = torch.tensor([[3.0, 1, 1], [0, 0, 5], [2, 2, 1]]).repeat(20, 1)
    concentration = torch.tensor([1.0, 2.0, 1.5])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            shares = pyro.sample("shares", dist.Dirichlet(concentration))
            pyro.sample("x", dist.Multinomial(5, shares), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("shares", dist.Dirichlet(concentration + x))

    it = story(model, guide, x)
    exact = dist.DirichletMultinomial(concentration, 5).log_prob(x)
    found = anneal(*it, temperatures=4, chains=300, leapfrog=2)
    assert unbiased(found, exact)
    near = anneal(*it, temperatures=3, chains=4, leapfrog=2, start="guide")
    torch.testing.assert_close(near.log_p, exact, rtol=1e-4, atol=1e-4)


def chained(x: Tensor) -> tuple[Pair, Audit, Split]:
    """top ~ N(0, 1), bottom ~ N(top, 1), x ~ N(bottom, 1): p(x) = N(0, 3)."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(torch.tensor(0.0), 1.0))
            bottom = pyro.sample("bottom", dist.Normal(top.unsqueeze(-1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(bottom.squeeze(-1), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(x / 3, 1.0))
            pyro.sample("bottom", dist.Normal((x + top).unsqueeze(-1) / 2, 1.0).to_event(1))

    return story(model, guide, x)


@pytest.mark.parametrize("start", STARTS)
def test_two_latents_by_other_names(start: Start, short_pilot: None) -> None:
    x = torch.linspace(-3, 3, 60)
    it = chained(x)
    found = anneal(*it, temperatures=4, chains=300, leapfrog=2, start=start)
    assert unbiased(found, dist.Normal(0.0, math.sqrt(3.0)).log_prob(x))


@pytest.mark.parametrize("start", STARTS)
def test_looping_and_vectorizing_programs_agree_number_by_number(start: Start) -> None:
    """Both have the same densities and gradients at the same points."""
    pair, facts, rows = chained(torch.linspace(-3, 3, 5))
    looped = Audit(**{**facts.__dict__, "vectorizes": False})
    batch = rows.take(torch.arange(5))
    position = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    points = []
    for known in (facts, looped):
        with evaluating(pair):
            points.append(hmc.AnnealingPath(pair, known, batch, start).at(position))
    for name in vars(points[0]):
        torch.testing.assert_close(getattr(points[0], name), getattr(points[1], name))


def test_a_looping_program_is_annealed(short_pilot: None) -> None:
    it = pca(rows=200, variance=2.0)
    facts = Audit(**{**it.facts.__dict__, "vectorizes": False})
    found = anneal(it.pair, facts, it.rows, temperatures=4, chains=8, leapfrog=2, batch_size=200)
    assert unbiased(found, it.log_p)


def test_a_mixture_as_prior_moves_on_its_components_support(short_pilot: None) -> None:
    x = torch.linspace(-4, 4, 60)
    locs = torch.tensor([-2.0, 2.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            parts = dist.Categorical(torch.tensor([0.3, 0.7])), dist.Normal(locs, 1.0)
            z = pyro.sample("z", dist.MixtureSameFamily(*parts))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    it = story(model, guide, x)
    found = anneal(*it, temperatures=4, chains=300, leapfrog=2)
    each = dist.Normal(locs, math.sqrt(2.0)).log_prob(x.unsqueeze(-1))
    assert unbiased(found, (each + torch.tensor([0.3, 0.7]).log()).logsumexp(-1))


def test_a_trajectory_that_diverges_is_turned_down() -> None:
    """A rate that overflows is not an error: exp of a far position is infinite."""
    pair, facts, rows = rates(torch.tensor([0.0, 3.0]))
    with evaluating(pair):
        torch.manual_seed(0)
        path = hmc.AnnealingPath(pair, facts, rows.take(torch.arange(2)), "prior")
        point = path.draw(50)
        after, probability = hmc.transition(path, point, 1.0, torch.full((2,), 50.0), 3)
    assert bool(after.position.isfinite().all())
    assert float(probability.mean()) < 0.1
