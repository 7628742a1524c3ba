"""Laws of Renyi's bound, on a linear-Gaussian chain whose divergences have closed forms."""

import math
from itertools import combinations
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from pyro.infer import RenyiELBO as PyrosRenyiELBO
from pyro.optim import PyroOptim
from torch import Tensor

from ppvae.bounds import ImportanceWeightedELBO, RenyiELBO
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.compilation import capture
from ppvae.errors import InputError
from ppvae.programs import Pair
from tests.support.bounds import both_ways
from tests.support.gaussian_chain import (
    ROWS,
    SIGMAS,
    Chain,
    Program,
    gradient,
    loss_of,
    rows,
    sample,
    slopes,
)

ORDERS = [-0.5, 0.5, 2.0]


def ours(alpha: float, k: int = 3, vectorize: bool = True, elbo: Any = RenyiELBO) -> Any:
    return elbo(alpha=alpha, num_particles=k, vectorize_particles=vectorize, max_plate_nesting=1)


def pyros(alpha: float, k: int = 3, vectorize: bool = True) -> Any:
    return ours(alpha, k, vectorize, PyrosRenyiELBO)


def stepped(elbo: Any, chain: Chain, x: Tensor) -> tuple[float, Tensor]:
    """Value and gradient, by ``loss_and_grads``."""
    chain.zero_grad()
    torch.manual_seed(0)
    value = elbo.loss_and_grads(chain.model, chain.guide, x)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in chain.parameters()]
    return value, torch.cat([g.flatten() for g in grads])


@both_ways
@pytest.mark.parametrize("alpha", ORDERS)
def test_without_subsampling_value_and_gradient_are_pyros(vectorize: bool, alpha: float) -> None:
    chain, x = Chain(2).moved(), rows()
    value, slope = stepped(ours(alpha, 3, vectorize), chain, x)
    theirs, their_slope = stepped(pyros(alpha, 3, vectorize), chain, x)
    assert value == pytest.approx(theirs, rel=1e-12)
    torch.testing.assert_close(slope, their_slope)
    torch.testing.assert_close(
        slope, slopes(ours(alpha, 3, vectorize), chain, list(chain.parameters()), 0)
    )


@both_ways
def test_order_zero_is_the_importance_weighted_bound(vectorize: bool) -> None:
    chain, x = Chain(2, ROWS, 2).moved(), rows()
    iw: Any = ImportanceWeightedELBO
    other = iw(num_particles=3, vectorize_particles=vectorize, max_plate_nesting=1)
    one = ours(0.0, 3, vectorize)
    losses = [loss_of(elbo, chain.model, chain.guide, x, 0) for elbo in (one, other)]
    assert float(losses[0].detach()) == float(losses[1].detach())
    weights = list(chain.parameters())
    torch.testing.assert_close(gradient(losses[0], weights), gradient(losses[1], weights))


def some_log_weights() -> Tensor:
    return 3 * torch.randn(50, 7, generator=torch.Generator().manual_seed(1)).double()


def test_it_is_a_power_mean_of_the_weights() -> None:
    log_w = some_log_weights()
    weights = log_w.exp()
    # The harmonic mean, and that of the square roots.
    want = (1 / (1 / weights).mean(0)).log()
    torch.testing.assert_close(ours(2.0).bounds(log_w), want)
    torch.testing.assert_close(ours(0.5).bounds(log_w), 2 * weights.sqrt().mean(0).log())
    # Near order 1 the mean of the logs; at the limits the minimum and the maximum.
    torch.testing.assert_close(ours(1 + 1e-8).bounds(log_w), log_w.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours(1 - 1e-8).bounds(log_w), log_w.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours(1e4).bounds(log_w), log_w.amin(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(ours(-1e4).bounds(log_w), log_w.amax(0), atol=1e-3, rtol=0)


def test_every_estimate_falls_as_the_order_rises_and_of_one_draw_none_does() -> None:
    log_w = some_log_weights()
    bounds = torch.stack([ours(a).bounds(log_w) for a in (-3, -0.5, 0, 0.3, 0.99, 1.01, 2, 9)])
    assert bool((bounds.diff(dim=0) < 0).all())
    for alpha in ORDERS:
        torch.testing.assert_close(ours(alpha).bounds(log_w[:1]), log_w[0])


def test_log_weights_far_below_what_a_number_can_be_do_no_harm() -> None:
    log_w = (some_log_weights().float() - 1e4).requires_grad_()
    for alpha in ORDERS:
        bounds = ours(alpha).bounds(log_w)
        torch.testing.assert_close(
            bounds.double(), ours(alpha).bounds(log_w.double() + 1e4) - 1e4, rtol=1e-6, atol=1e-2
        )
        (slope,) = torch.autograd.grad(bounds.sum(), log_w)
        torch.testing.assert_close(slope.sum(0), torch.ones(7), rtol=0, atol=2e-3)


@pytest.mark.parametrize("alpha", ORDERS)
def test_many_draws_give_the_evidence_less_renyis_divergence(alpha: float) -> None:
    """The divergence of two normals; for negative orders it is negative: an upper bound."""
    exact, chain, x = Chain(1), Chain(1).moved(), rows()
    if alpha > 1:  # powers of 1 / w have a variance where the guide is the narrower one
        with torch.no_grad():
            chain.log_s.sub_(0.5)
    s, t, shift = exact.log_s.exp().item(), chain.log_s.exp().item(), 0.3
    mixed = alpha * s**2 + (1 - alpha) * t**2
    divergence = (
        math.log(s / t)
        + math.log(s**2 / mixed) / (2 * (alpha - 1))
        + alpha * shift**2 / (2 * mixed)
    )
    want = exact.evidence(x).sum() - ROWS * divergence
    elbo = ours(alpha, 4000)

    def draw() -> Tensor:
        return -torch.tensor(elbo.loss(chain.model, chain.guide, x))

    got = sample(draw, 60)
    # The remaining bias is of order 1 / K.
    assert abs(got.mean - want) < SIGMAS * got.error + 0.01
    assert float(got.error) < 0.1 * abs(divergence) * ROWS
    assert (float(want) > float(exact.evidence(x).sum())) is (alpha < 0)


@pytest.mark.parametrize("alpha", [*ORDERS, 0.0])
@pytest.mark.parametrize("k", [1, 4])
def test_what_is_reported_is_a_lower_bound_also_where_what_is_climbed_is_none(
    alpha: float, k: int
) -> None:
    chain, x = Chain(1).moved(), rows()
    batch = {"x": x}
    pair = Pair(chain.model, chain.guide, batch)
    terms = {}
    for elbo, own in ((RenyiELBO, {"alpha": alpha}), (ImportanceWeightedELBO, {})):
        found = Bound(pair, elbo, audit(pair, elbo, batch), k, **own)
        torch.manual_seed(0)
        terms[elbo] = found(batch)
    renyi, weighted = terms[RenyiELBO], terms[ImportanceWeightedELBO]
    torch.testing.assert_close(renyi.elbo, renyi.objective if alpha >= 0 else weighted.elbo)
    evidence_lower = renyi.reconstruction - renyi.kl
    if k == 1:
        torch.testing.assert_close(renyi.elbo, evidence_lower)
    elif alpha != 0:
        assert float(renyi.objective.detach() - weighted.elbo) * alpha < 0
        assert float(renyi.elbo - evidence_lower) * (1 - alpha) > 0


def test_of_a_negative_order_the_evidence_is_above_what_is_reported_of_many_draws() -> None:
    chain, x = Chain(1).moved(), rows()
    batch, evidence = {"x": x}, Chain(1).evidence(x).sum()
    pair = Pair(chain.model, chain.guide, batch)
    found = Bound(pair, RenyiELBO, audit(pair, RenyiELBO, batch), 30, alpha=-2.0)
    with torch.no_grad():
        got = sample(lambda: torch.stack(found(batch)[:2]), 100)
    objective, elbo = got.mean
    assert objective - SIGMAS * got.error[0] > evidence
    assert elbo < evidence + SIGMAS * got.error[1]


def with_draws(chain: Chain, z: Tensor) -> Program:
    """The guide with given draws, scored by its own density."""

    def guide(x: Tensor, subsample: Tensor | None = None) -> None:
        with pyro.plate("data", ROWS, subsample_size=chain.taken, subsample=subsample) as i:
            density = dist.Normal(x[i] @ chain.V[0] + chain.a[0], chain.log_s[0].exp())
            pyro.sample("z0", dist.Delta(z[:, i], density.log_prob(z[:, i])))

    return guide


def over_subsamples(elbo: Any, z: Tensor, x: Tensor) -> tuple[float, float]:
    """The bound on all data, and the mean of bounds on subsamples of two, with the same draws."""
    chain = Chain(1).moved()
    whole = -elbo.loss(chain.model, with_draws(chain, z), x)
    parts = []
    for pair in combinations(range(ROWS), 2):
        indices = torch.tensor(pair)

        def model(x: Tensor, indices: Tensor = indices) -> None:
            with pyro.plate("data", ROWS, subsample=indices) as i:
                z0 = pyro.sample("z0", dist.Normal(torch.zeros(()).double(), 1.0))
                loc = z0[..., None] * chain.W[:, 0] + chain.b
                pyro.sample("x", dist.Normal(loc, math.sqrt(0.5)).to_event(1), obs=x[i])

        def guide(x: Tensor, indices: Tensor = indices) -> None:
            with_draws(chain, z)(x, indices)

        parts.append(-elbo.loss(model, guide, x))
    return whole, math.fsum(parts) / len(parts)


def test_subsamples_give_the_bound_on_all_data_in_expectation_and_pyros_do_not() -> None:
    x = rows()
    z = torch.randn(4, ROWS, generator=torch.Generator().manual_seed(3)).double()
    whole, mean = over_subsamples(ours(0.5, 4), z, x)
    assert mean == pytest.approx(whole, rel=1e-12)
    theirs, their_mean = over_subsamples(pyros(0.5, 4), z, x)
    assert theirs == pytest.approx(whole, rel=1e-12)
    assert abs(their_mean - whole) > 0.5


@both_ways
def test_svi_climbs_it(vectorize: bool) -> None:
    chain, x = Chain(2).moved(), rows()
    elbo = ours(0.5, 3, vectorize)
    svi = SVI(chain.model, chain.guide, PyroOptim(torch.optim.Adam, {"lr": 0.05}), elbo)
    before = svi.evaluate_loss(x)
    for _ in range(40):
        svi.step(x)
    assert svi.evaluate_loss(x) < before - 1


@pytest.mark.slow
def test_it_can_be_captured_as_a_graph() -> None:
    chain, x = Chain(2).moved(), rows()
    elbo, weights = ours(0.5), list(chain.parameters())
    loss = capture(chain.model, chain.guide, elbo, x, compile=False)
    for seed in range(2):
        torch.manual_seed(seed)
        captured, eager = loss(x), loss_of(elbo, chain.model, chain.guide, x, seed)
        torch.testing.assert_close(captured, eager)
        torch.testing.assert_close(gradient(captured, weights), gradient(eager, weights))
    assert loss.reason == ""


@pytest.mark.parametrize(
    ("alpha", "words"), [(1, "take Trace_ELBO"), (math.inf, "finite"), (math.nan, "finite")]
)
def test_orders_that_are_none_are_refused(alpha: float, words: str) -> None:
    with pytest.raises(InputError, match=rf"alpha is {alpha}.*{words}"):
        RenyiELBO(alpha=alpha)
