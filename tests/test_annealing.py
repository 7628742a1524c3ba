"""Laws of annealed importance sampling, where log p(x) is known in closed form."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pca import pca
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.audit import Audit, audit
from ppvae.data import Split, as_split
from ppvae.diagnostics import annealing, hmc, log_evidence, subject
from ppvae.diagnostics.annealing import Annealed, Start, anneal, schedule
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.programs import Pair, frozen

SIGMAS = 5.0
STARTS: tuple[Start, ...] = ("prior", "guide")


def unbiased(found: Annealed, truth: Tensor) -> bool:
    """Whether the mean weight over p(x) is 1, over data that know nothing of one another."""
    ratio = (found.log_p.double() - truth.double()).exp()
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert error < 0.05, f"the test is blunt: its error is {error}"
    return abs(float(ratio.mean()) - 1) < SIGMAS * error


@pytest.fixture
def short_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what holds with any steps: they come near to good ones, and cost little."""
    monkeypatch.setattr(annealing, "PILOT_WARM_UP", 8)
    monkeypatch.setattr(annealing, "PILOT_TEMPERATURES", 4)


def story(
    model: Callable[..., Any], guide: Callable[..., Any], x: Tensor
) -> tuple[Pair, Audit, Split]:
    """Two plain functions and data; there has to be a parameter, and so there is one."""

    @wraps(guide)
    def with_parameter(x: Tensor) -> None:
        pyro.param("unused", torch.tensor(0.0))
        guide(x)

    return subject(model, with_parameter, x, elbo=Trace_ELBO)


# Weights.


@pytest.mark.parametrize("start", STARTS)
def test_the_mean_weight_is_the_density_with_few_temperatures(
    start: Start, short_pilot: None
) -> None:
    """Four temperatures and long steps: only exact transitions keep the mean where it is."""
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
    """From the exact posterior each weight is p(x), and all chains count alike."""
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
    """From the posterior the path is one density, and its weights stay p(x) while chains move."""
    it = pca(rows=5)
    found = anneal(it.pair, it.facts, it.rows, temperatures=5, chains=3, leapfrog=2, start="guide")
    torch.testing.assert_close(found.log_p, it.log_p)


def test_a_single_chain_knows_no_error(short_pilot: None) -> None:
    it = pca(rows=3)
    found = anneal(it.pair, it.facts, it.rows, temperatures=3, chains=1, leapfrog=1)
    assert bool(found.error.isnan().all())
    assert bool(found.effective.eq(1).all())


def test_the_error_is_the_chains_own_spread() -> None:
    """Each of 5 data forty times over: estimates that differ by their chains alone."""
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


# Transitions.


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_a_transition_leaves_its_density_as_it_is(t: float) -> None:
    """f_t is normal: exact draws of it stay exact, and do not stay where they are."""
    it = pca(rows=2, variance=1.0, rotated=True)
    n = 30_000
    eye = torch.eye(2, dtype=torch.float64)
    precision = eye + t * it.w.T @ it.w / it.variance
    loc = torch.linalg.solve(precision, t * it.w.T @ (it.x - it.b).T / it.variance).T
    covariance = torch.linalg.inv(precision)
    torch.manual_seed(0)
    z = torch.distributions.MultivariateNormal(loc, covariance).sample((n,))
    with frozen(it.pair):
        bridge = hmc.Bridge(it.pair, it.facts, {"x": it.x}, "prior")
        point = bridge.place({"z": z})
        step = torch.full((2,), 0.8, dtype=torch.float64)
        for _ in range(4):
            point, probability = hmc.transition(bridge, point, t, step, 3)
    assert 0.2 < float(probability.mean()) < 0.97
    moved = point.position
    assert float((moved - z).abs().mean()) > 0.3
    scale = covariance.diagonal().sqrt()
    assert bool(((moved.mean(0) - loc).abs() < SIGMAS * scale / math.sqrt(n)).all())
    error = ((covariance.square() + torch.outer(scale, scale).square()) / n).sqrt()
    for row in range(2):
        assert bool(((moved[:, row].T.cov() - covariance).abs() < SIGMAS * error).all())
    # What is remembered of the place is what is true there.
    again = bridge.at(moved)
    torch.testing.assert_close(point.log_density(t), again.log_density(t))
    torch.testing.assert_close(point.gradient(t), again.gradient(t))
    torch.testing.assert_close(point.gradient(t), (loc - moved) @ precision)


def test_a_trajectory_costs_its_steps_and_no_pass_more(monkeypatch: pytest.MonkeyPatch) -> None:
    it = pca(rows=4)
    calls: list[int] = []
    at = hmc.Bridge.at

    def counted(self: Any, position: Tensor) -> Any:
        calls.append(len(position))
        return at(self, position)

    monkeypatch.setattr(hmc.Bridge, "at", counted)
    anneal(it.pair, it.facts, it.rows, temperatures=7, chains=3, leapfrog=2)
    assert calls.count(3) == 5 * 2 + 1
    assert calls.count(annealing.PILOT_CHAINS) == (20 + 30) * 2 + 1


# Other programs.


def rates(x: Tensor, program: Callable[..., Any] | None = None) -> tuple[Pair, Audit, Split]:
    """Counts whose rates are unknown: z ~ Gamma(2, 1.5), x ~ Poisson(z), negative binomial."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.5))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.LogNormal(((x + 2) / 2.5).log(), 0.6))

    return story(model, program or guide, x)


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
    """Shares on the simplex have one number less among the reals."""
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
    """At the same places both have the same densities and gradients."""
    pair, facts, rows = chained(torch.linspace(-3, 3, 5))
    looped = Audit(**{**facts.__dict__, "vectorizes": False})
    batch = rows.take(torch.arange(5))
    position = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    points = []
    for known in (facts, looped):
        with frozen(pair):
            points.append(hmc.Bridge(pair, known, batch, start).at(position))
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
    """A rate that overflows is no error: exp of a far position is infinite."""
    pair, facts, rows = rates(torch.tensor([0.0, 3.0]))
    with frozen(pair):
        torch.manual_seed(0)
        bridge = hmc.Bridge(pair, facts, rows.take(torch.arange(2)), "prior")
        point = bridge.draw(50)
        after, probability = hmc.transition(bridge, point, 1.0, torch.full((2,), 50.0), 3)
    assert bool(after.position.isfinite().all())
    assert float(probability.mean()) < 0.1


# Manners.


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
    # Batches of the same data have noise of their own.
    unmoved = anneal(it.pair, it.facts, rows, **{**arguments, "temperatures": 2})
    assert bool((unmoved.log_p[:3] != unmoved.log_p[3:]).all())
    assert it.pair.training
    assert all(map(torch.equal, weights, it.pair.parameters()))
    assert all(p.grad is None and p.requires_grad for p in it.pair.parameters())
    assert not one.log_p.requires_grad


def test_groups_of_chains_are_one_run(short_pilot: None, monkeypatch: pytest.MonkeyPatch) -> None:
    it = pca(rows=10, variance=2.0, rotated=True)
    sizes: list[int] = []
    draw = hmc.Bridge.draw

    def counted(self: Any, chains: int) -> Any:
        sizes.append(chains)
        return draw(self, chains)

    monkeypatch.setattr(hmc.Bridge, "draw", counted)
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
        anneal(*subject_, start="middle")  # type: ignore[arg-type]


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
    with pyro.validation_enabled(False), pytest.raises(InputError, match="'rate' lies outside"):
        anneal(*it, temperatures=3, start="guide")

    def helped(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            e = pyro.sample("e", dist.Normal(0 * x, 1.0), infer={"is_auxiliary": True})
            pyro.sample("rate", dist.LogNormal(0.1 * e, 1.0))

    it = rates(torch.ones(5), helped)
    with pytest.raises(InputError, match="the guide draws 'e' beside"):
        anneal(*it, start="guide")
    found = anneal(*it, temperatures=3, leapfrog=1)
    assert bool(found.log_p.isfinite().all())
