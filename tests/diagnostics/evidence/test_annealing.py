"""Laws of annealed importance sampling, where log p(x) is known in closed form."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.fx import GraphModule

from ppvae.bounds.audit import audit
from ppvae.data import as_split
from ppvae.diagnostics import log_evidence
from ppvae.diagnostics.evidence import annealing, hmc
from ppvae.diagnostics.evidence.annealing import anneal, schedule
from ppvae.diagnostics.evidence.hmc import Start
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.annealed import SIGMAS, STARTS, rates, short_pilot, story, unbiased
from tests.support.pca import pca
from tests.support.slow import few

__all__ = ["short_pilot"]  # fixtures


# Weights.


@pytest.mark.parametrize("start", STARTS)
def test_the_mean_weight_is_the_density_with_few_temperatures(
    start: Start, short_pilot: None
) -> None:
    """Four temperatures and long steps: only exact transitions keep the mean."""
    it = pca(rows=50, columns=3, variance=2.0, rotated=True, shift=0.3, widen=1.3)
    found = anneal(it.pair, it.facts, it.rows, temperatures=4, chains=2000, leapfrog=2, start=start)
    assert unbiased(found, it.log_p)
    z = (found.log_p - it.log_p) / found.error
    assert float(z.abs().max()) < SIGMAS
    assert 0.5 < float(z.square().mean()) < 2.0  # errors neither too small nor too large
    # Far from certain acceptance, so that the Metropolis test counts.
    assert float(found.acceptance.max()) < 0.9


@pytest.mark.parametrize("start", STARTS)
def test_many_temperatures_find_the_evidence_where_importance_sampling_does_not(
    start: Start,
) -> None:
    it = pca(rows=10, columns=6, latent=3, variance=0.2, shift=0.6, widen=0.7)
    arguments: dict[str, Any] = {"chains": 32, "leapfrog": 2, "start": start}
    found = anneal(it.pair, it.facts, it.rows, temperatures=80, **arguments)
    off = found.log_p - it.log_p
    assert bool((off.abs() < SIGMAS * found.error).all())
    poor = anneal(it.pair, it.facts, it.rows, temperatures=2, **arguments)
    missed = poor.log_p - it.log_p
    assert float(missed.square().mean()) > 16 * float(off.square().mean())
    assert float(found.effective.mean()) > 2 * float(poor.effective.mean())
    assert tuple(found.schedule.shape) == (80,)
    assert tuple(found.acceptance.shape) == (78,)
    assert tuple(found.step_size.shape) == (78, 10)
    assert 0.5 < float(found.acceptance.mean()) < 0.8
    assert found.mean == pytest.approx(float(found.log_p.mean()))
    assert found.standard_error == pytest.approx(float(found.log_p.std()) / math.sqrt(10))


def test_two_temperatures_are_importance_sampling() -> None:
    """From the exact posterior each weight is p(x), and all chains have equal weights."""
    it = pca(rows=20)
    found = anneal(it.pair, it.facts, it.rows, temperatures=2, chains=6, start="guide")
    torch.testing.assert_close(found.log_p, it.log_p)
    torch.testing.assert_close(found.effective, torch.full_like(it.log_p, 6.0))
    assert float(found.error.max()) < 1e-6
    assert found.acceptance.numel() == found.step_size.numel() == 0
    wide = pca(rows=20, widen=1.3)
    one = anneal(wide.pair, wide.facts, wide.rows, temperatures=2, chains=1000, start="guide")
    two = log_evidence(wide.pair, wide.facts, wide.rows, samples=1000)
    error = (one.error.square() + two.error.square()).sqrt()
    assert bool(((one.log_p - two.log_p).abs() < SIGMAS * error).all())


def test_the_exact_posterior_needs_no_walk(short_pilot: None) -> None:
    """From the posterior the path is constant: weights stay p(x) while chains move."""
    it = pca(rows=5)
    found = anneal(it.pair, it.facts, it.rows, temperatures=5, chains=3, leapfrog=2, start="guide")
    torch.testing.assert_close(found.log_p, it.log_p)


def test_a_single_chain_knows_no_error(short_pilot: None) -> None:
    it = pca(rows=3)
    found = anneal(it.pair, it.facts, it.rows, temperatures=3, chains=1, leapfrog=1)
    assert bool(found.error.isnan().all())
    assert bool(found.effective.eq(1).all())


def test_the_error_is_the_chains_own_spread() -> None:
    """Each of 5 data forty times: estimates that differ by their chains only."""
    it = pca(rows=5, widen=1.5)
    rows = as_split(it.x.repeat(40, 1))
    found = anneal(it.pair, it.facts, rows, temperatures=2, chains=1000, start="guide")
    spread = found.log_p.reshape(40, 5).std(0)
    ratio = spread / found.error.reshape(40, 5).mean(0)
    assert bool(((ratio > 0.6) & (ratio < 1.5)).all())


def test_temperatures_are_a_sigmoid_from_0_to_1() -> None:
    t = schedule(101)
    assert (float(t[0]), float(t[-1])) == (0.0, 1.0)
    assert bool((t.diff() > 0).all())
    torch.testing.assert_close(t + t.flip(0), torch.ones_like(t))
    logit = (t * (2 * math.tanh(2) / 2) + torch.tensor(-4.0).double().sigmoid()).logit()
    torch.testing.assert_close(logit, torch.linspace(-4, 4, 101, dtype=torch.float64))
    assert schedule(2).tolist() == [0.0, 1.0]


# Conventions.


def test_a_point_mass_is_annealed_from_the_prior(short_pilot: None) -> None:
    it = pca(rows=20, variance=2.0)
    guide = Delta(2, (4,))
    pair = Pair(it.pair.model, guide.double(), {"x": it.x})
    facts = audit(pair, Trace_ELBO, {"x": it.x})
    found = anneal(pair, facts, it.rows, temperatures=20, chains=100, leapfrog=2)
    assert bool(((found.log_p - it.log_p).abs() < SIGMAS * found.error).all())
    with pytest.raises(InputError, match="point mass has no density to start from"):
        anneal(pair, facts, it.rows, start="guide")


def test_the_answer_is_a_function_of_the_seed_and_moves_nothing(short_pilot: None) -> None:
    it = pca(rows=3)
    rows = as_split(it.x.repeat(2, 1))
    arguments: dict[str, Any] = {"temperatures": 4, "chains": 2, "leapfrog": 1, "batch_size": 3}
    state = torch.get_rng_state()
    seen: list[int] = []
    weights = [p.clone() for p in it.pair.parameters()]
    one = anneal(it.pair, it.facts, rows, on_rows=seen.append, **arguments)
    assert torch.equal(state, torch.get_rng_state())
    assert sum(seen) == 6
    torch.rand(3)
    two = anneal(it.pair, it.facts, rows, **arguments)
    other = anneal(it.pair, it.facts, rows, seed=1, **arguments)
    assert torch.equal(one.log_p, two.log_p)
    assert torch.equal(one.step_size, two.step_size)
    assert bool((one.log_p != other.log_p).all())
    # Batches of the same data have different noise.
    unmoved = anneal(it.pair, it.facts, rows, **{**arguments, "temperatures": 2})
    assert bool((unmoved.log_p[:3] != unmoved.log_p[3:]).all())
    assert it.pair.training
    assert all(map(torch.equal, weights, it.pair.parameters()))
    assert all(p.grad is None and p.requires_grad for p in it.pair.parameters())
    assert not one.log_p.requires_grad


@pytest.mark.parametrize("start", few(STARTS, 0))
def test_a_graph_walks_as_the_programs_do(
    start: Start, short_pilot: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One graph for all batches of a size, and another for an incomplete batch."""
    it = pca(rows=10, columns=5, latent=3, variance=0.5, rotated=True, widen=1.2)
    graphs: list[GraphModule] = []

    def kept(graph: GraphModule) -> GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr("ppvae.compilation.captured.compiled", kept)
    arguments: dict[str, Any] = {
        "temperatures": 4, "chains": annealing.PILOT_CHAINS, "leapfrog": 2, "start": start,
        "batch_size": 4,
    }  # fmt: skip
    as_graph = anneal(it.pair, it.facts, it.rows, compile=True, **arguments)
    assert len(graphs) == 2
    as_is = anneal(it.pair, it.facts, it.rows, compile=False, **arguments)
    torch.testing.assert_close(as_graph.log_p, as_is.log_p)
    torch.testing.assert_close(as_graph.step_size, as_is.step_size)
    assert len(graphs) == 2


def test_a_program_that_is_no_graph_walks_as_it_is(short_pilot: None) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            scale = 1.0 if bool((x == x).all()) else 2.0
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, 1.0))

    it = story(model, guide, torch.randn(40))
    arguments: dict[str, Any] = {"temperatures": 3, "chains": 4, "leapfrog": 1}
    one, other = (anneal(*it, compile=compile, **arguments) for compile in (True, False))
    assert torch.equal(one.log_p, other.log_p)


def test_groups_of_chains_are_one_run(short_pilot: None, monkeypatch: pytest.MonkeyPatch) -> None:
    it = pca(rows=10, variance=2.0, rotated=True)
    sizes: list[int] = []
    draw = hmc.AnnealingPath.draw

    def counted(self: Any, chains: int) -> Any:
        sizes.append(chains)
        return draw(self, chains)

    monkeypatch.setattr(hmc.AnnealingPath, "draw", counted)
    monkeypatch.setattr(annealing, "CHUNK", 400 * it.x.numel() + 1)
    found = anneal(it.pair, it.facts, it.rows, temperatures=4, chains=1000, leapfrog=2)
    assert sizes == [annealing.PILOT_CHAINS, 400, 400, 200]
    assert bool(((found.log_p - it.log_p).abs() < SIGMAS * found.error).all())


def test_numbers_out_of_their_range_are_refused() -> None:
    it = pca(rows=2)
    subject_ = (it.pair, it.facts, it.rows)
    with pytest.raises(InputError, match="temperatures is 1"):
        anneal(*subject_, temperatures=1)
    with pytest.raises(InputError, match="chains is 0"):
        anneal(*subject_, chains=0)
    with pytest.raises(InputError, match="leapfrog is 0"):
        anneal(*subject_, leapfrog=0)
    with pytest.raises(InputError, match="start is 'middle'"):
        anneal(*subject_, start="middle")  # type: ignore[arg-type]  # to be refused


def test_latents_that_cannot_move_are_refused() -> None:
    x = torch.randn(4)

    def discrete(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("component", dist.Bernoulli(torch.tensor(0.5)))
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    def of_it(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("component", dist.Bernoulli(torch.sigmoid(x)))

    it = story(discrete, of_it, x)
    with pytest.raises(InputError, match="site 'component' is discrete"):
        anneal(*it)

    def nested(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Uniform(torch.tensor(0.0), 1.0))
            z = pyro.sample("below", dist.Uniform(torch.tensor(0.0), top))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def of_them(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Uniform(0 * x, 1.0))
            pyro.sample("below", dist.Uniform(0 * x, top))

    it = story(nested, of_them, x)
    with pytest.raises(InputError, match="support of site 'below' depends on other latents"):
        anneal(*it)
    plain = pca(rows=2)
    shared = Audit(**{**plain.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        anneal(plain.pair, shared, plain.rows)


def test_a_start_that_has_no_density_is_refused() -> None:
    def outside(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Normal(0 * x, 1.0))

    it = rates(torch.ones(30), outside)
    # Pyro's check would raise first.
    with (
        pyro.validation_enabled(False),
        pytest.raises(InputError, match="'rate' is outside its support"),
    ):
        anneal(*it, temperatures=3, start="guide")

    def helped(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            e = pyro.sample("e", dist.Normal(0 * x, 1.0), infer={"is_auxiliary": True})
            pyro.sample("rate", dist.LogNormal(0.1 * e, 1.0))

    it = rates(torch.ones(5), helped)
    with pytest.raises(InputError, match="the guide draws 'e', which is not"):
        anneal(*it, start="guide")
    found = anneal(*it, temperatures=3, leapfrog=1)
    assert bool(found.log_p.isfinite().all())
