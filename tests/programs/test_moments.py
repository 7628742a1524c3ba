"""Means of a guide: in closed form, by draws, and of a latent below another."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae import data
from ppvae.bounds.audit import audit
from ppvae.data import Split
from ppvae.diagnostics import embed
from ppvae.distributions.moments import DRAWS, AtMeans, moments
from ppvae.guides import Flow, Ladder
from ppvae.models import VAE, Gaussian, HierarchicalVAE, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.generation import posterior_means

COLUMNS = 6


def split() -> Split:
    x = torch.randn(40, COLUMNS, generator=torch.Generator().manual_seed(0))
    return data.as_split(x)


def whole(rows: Split) -> dict[str, Tensor]:
    return rows.take(torch.arange(len(rows)))


class Shifted(dist.Normal):
    """A normal without a closed-form mean."""

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError


def test_moments_are_in_closed_form_where_there_is_one() -> None:
    mean, stddev = moments(dist.Gamma(torch.tensor([4.0, 9.0]), 2.0).to_event(1))
    torch.testing.assert_close(mean, torch.tensor([2.0, 4.5]))
    torch.testing.assert_close(stddev, torch.tensor([1.0, 1.5]))


def test_moments_of_a_family_without_any_are_those_of_draws() -> None:
    torch.manual_seed(0)
    loc = torch.linspace(-3.0, 3.0, 400)
    mean, stddev = moments(Shifted(loc, 2.0))
    error = (mean - loc) / (2.0 / math.sqrt(DRAWS))
    assert float(error.mean()) == pytest.approx(0.0, abs=5 / math.sqrt(400))
    assert float(error.std()) == pytest.approx(1.0, abs=0.2)
    assert float(stddev.mean()) == pytest.approx(2.0, abs=5 * 2 / math.sqrt(2 * DRAWS * 400))


def test_moments_have_the_shape_of_what_is_drawn() -> None:
    fn = dist.Normal(torch.zeros(3), torch.ones(2, 1, 1)).expand([2, 4, 3]).to_event(1)
    assert [tuple(found.shape) for found in moments(fn)] == [(2, 4, 3), (2, 4, 3)]


def test_at_means_a_class_is_its_most_probable_and_what_has_no_mean_in_its_support_is_drawn() -> (
    None
):
    def program() -> tuple[Tensor, ...]:
        a = pyro.sample("a", dist.Categorical(torch.tensor([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]])))
        masked = dist.Bernoulli(torch.tensor([0.4, 0.7])).mask(torch.tensor(True))
        b, c = pyro.sample("b", masked.to_event(0)), pyro.sample("c", dist.Normal(a.float(), 1.0))
        return (
            a,
            b,
            c,
            pyro.sample("d", dist.Normal(2 * c, 1.0)),
            pyro.sample("e", dist.Poisson(3.5)),
        )

    torch.manual_seed(0)
    with AtMeans() as at:
        runs = [program() for _ in range(9)]
    for a, b, c, d, _ in runs:
        assert (a.tolist(), b.tolist(), c.tolist(), d.tolist()) == ([1, 0], [0, 1], [1, 0], [2, 0])
    assert len({float(e) for *_, e in runs}) > 1
    assert set(at.moments) == {"c", "d", "e"}
    assert float(at.moments["e"][0]) == 3.5


def test_a_mean_that_does_not_exist_is_not_taken() -> None:
    with AtMeans():
        z = pyro.sample("z", dist.Cauchy(torch.zeros(3), 1.0))
    assert bool(z.isfinite().all())


def test_a_flow_is_placed_by_its_draws_the_same_in_each_call() -> None:
    rows = split()
    torch.manual_seed(0)
    guide = Flow(2, (COLUMNS,), transforms=1, hidden=(8,), context=3)
    pair = Pair(VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)), guide, whole(rows))
    facts = audit(pair, Trace_ELBO, whole(rows))
    torch.manual_seed(3)
    found, state = embed(pair, facts, rows, seed=1), torch.get_rng_state()
    again = embed(pair, facts, rows, seed=1)
    assert torch.equal(found.loc["z"], again.loc["z"])
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        draws = guide.posterior(whole(rows)["x"]).sample((4000,))
    error = draws.std(0) / math.sqrt(DRAWS)
    assert bool(((found.loc["z"] - draws.mean(0)).abs() < 5 * error).all())
    torch.testing.assert_close(found.scale["z"], draws.std(0), rtol=0.4, atol=0.0)


def test_a_lower_layer_is_placed_given_the_mean_of_that_above() -> None:
    rows, batch = split(), whole(split())
    torch.manual_seed(0)
    model = HierarchicalVAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), widths=(3, 2))
    pair = Pair(model, Ladder(model, (COLUMNS,), features=8, hidden=(8,)), batch)
    facts = audit(pair, Trace_ELBO, batch)
    found, means = embed(pair, facts, rows), posterior_means(pair, facts, batch)
    top = means["z2"]
    held = poutine.condition(pair.call_guide, data={"z2": top})
    trace: Any = poutine.trace(held).get_trace(**batch)
    fn = trace.nodes["z1"]["fn"]
    torch.testing.assert_close(found.loc["z1"], fn.mean.detach())
    torch.testing.assert_close(found.scale["z1"], fn.stddev.detach())
    torch.testing.assert_close(found.loc["z2"], top)
    torch.testing.assert_close(means["z1"], fn.mean.detach())
