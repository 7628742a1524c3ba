"""Laws of the importance-weighted bound, on linear-Gaussian programs with closed forms."""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, RenyiELBO, Trace_ELBO
from pyro.infer.elbo import ELBOModule
from pyro.optim import PyroOptim
from torch import Tensor

from ppvae.compilation import capture
from tests.support.bounds import both_ways
from tests.support.gaussian_chain import Part
from tests.support.one_latent import ROWS, SIGMAS, VARIANCE, Linear, Program, ours, rows


def bound(
    elbo: Any, linear: Linear, x: Tensor, *, seed: int | None = 0, **kwargs: Any
) -> tuple[float, Tensor]:
    """Value and gradient of a loss, by ``loss_and_grads``."""
    if seed is not None:
        torch.manual_seed(seed)
    linear.zero_grad()
    value = elbo.loss_and_grads(linear.model, linear.guide, x, **kwargs)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in linear.parameters()]
    return value, torch.cat([g.flatten() for g in grads])


class Sample(NamedTuple):
    mean: float
    error: float


def sample(draw: Callable[[], float], n: int, seed: int = 0) -> Sample:
    torch.manual_seed(seed)
    values = torch.tensor([draw() for _ in range(n)], dtype=torch.float64)
    return Sample(float(values.mean()), float(values.std()) / math.sqrt(n))


@both_ways
def test_one_particle_is_the_evidence_lower_bound(vectorize: bool) -> None:
    linear, x = Linear().blurred(), rows()
    value, slope = bound(ours(1, vectorize), linear, x)
    theirs, their_slope = bound(Trace_ELBO(vectorize_particles=vectorize), linear, x)
    assert value == pytest.approx(theirs, rel=1e-12)
    torch.testing.assert_close(slope, their_slope)


@both_ways
@pytest.mark.parametrize("k", [2, 5])
def test_without_subsampling_it_is_renyis_bound_of_order_zero(vectorize: bool, k: int) -> None:
    linear, x = Linear().blurred(), rows()
    # As in Pyro, a first run finds the nesting, so the draws are the same.
    value, slope = bound(ours(k, vectorize), linear, x)
    renyi = RenyiELBO(alpha=0, num_particles=k, vectorize_particles=vectorize)
    theirs, their_slope = bound(renyi, linear, x)
    assert value == pytest.approx(theirs, rel=1e-12)
    torch.testing.assert_close(slope, their_slope)
    elbo = Trace_ELBO(num_particles=k, vectorize_particles=vectorize)
    assert bound(elbo, linear, x)[0] > value + 0.01


@both_ways
@pytest.mark.parametrize("k", [1, 2, 30])
def test_with_the_exact_posterior_it_is_the_evidence_without_noise(vectorize: bool, k: int) -> None:
    linear, x = Linear(), rows()
    elbo = ours(k, vectorize)
    for seed in range(3):
        torch.manual_seed(seed)
        loss = elbo.loss(linear.model, linear.guide, x)
        assert -loss == pytest.approx(float(linear.evidence(x).sum()), rel=1e-12)


def climbed(elbo: Any, linear: Linear, x: Tensor) -> float:
    return -float(elbo.loss(linear.model, linear.guide, x))


def test_it_rises_with_the_number_of_particles_to_the_evidence_at_the_known_rate() -> None:
    n = 100
    exact, linear, x = Linear(), Linear().blurred(), rows(n)
    evidence = float(linear.evidence(x).sum())
    got = {}
    for k in (1, 2, 4, 16, 64):
        elbo = ours(k, max_plate_nesting=1)
        got[k] = sample(partial(climbed, elbo, linear, x), 60, k)
    for low, high in [(1, 2), (2, 4), (4, 16), (16, 64)]:
        error = math.hypot(got[low].error, got[high].error)
        assert got[high].mean - got[low].mean > SIGMAS * error
    assert got[64].mean - SIGMAS * got[64].error < evidence

    # Normal posterior p and guide q, the same for all rows up to their location. The gap begins
    # at KL(q || p), and ends as Var(w) / 2K, where 1 + Var(w) = E_q[(p / q)^2].
    s, t = exact.log_s.exp().item(), linear.log_s.exp().item()
    shift = (linear.a - exact.a).item()
    kl = math.log(s / t) + (t**2 + shift**2) / (2 * s**2) - 0.5
    spread = 2 * t**2 - s**2
    chi = t**2 / (s * math.sqrt(spread)) * math.exp(shift**2 / spread) - 1
    assert abs(evidence - got[1].mean - n * kl) < SIGMAS * got[1].error
    last = n * chi / (2 * 64)
    assert abs(evidence - got[64].mean - last) < SIGMAS * got[64].error + 0.1 * last
    assert SIGMAS * got[64].error < evidence - got[16].mean


def with_draws(linear: Linear, z: Tensor) -> Program:
    """The guide with given draws, scored by its own density."""

    def guide(x: Tensor, subsample: Tensor | None = None) -> None:
        with linear.plate(x, subsample) as i:
            density = dist.Normal(x[i] @ linear.v + linear.a, linear.log_s.exp())
            pyro.sample("z", dist.Delta(z[:, i], density.log_prob(z[:, i])))

    return guide


def over_subsamples(elbo: Any, z: Tensor, x: Tensor, size: int) -> tuple[float, float]:
    """The bound on all data, and the mean of bounds on subsamples, with the same draws."""
    linear = Linear().blurred()
    whole = -elbo.loss(linear.model, with_draws(linear, z), x)
    linear = Linear(size=len(x), taken=size).blurred()
    guide = with_draws(linear, z)
    parts = [
        -elbo.loss(linear.model, guide, x, torch.tensor(some))
        for some in combinations(range(len(x)), size)
    ]
    return whole, math.fsum(parts) / len(parts)


def test_subsamples_give_the_bound_on_all_data_in_expectation_and_renyis_do_not() -> None:
    torch.manual_seed(3)
    x, k = rows(), 4
    z = torch.randn(k, ROWS, dtype=torch.float64)
    whole, mean = over_subsamples(ours(k, max_plate_nesting=1), z, x, 2)
    assert mean == pytest.approx(whole, rel=1e-12)
    renyi = RenyiELBO(alpha=0, num_particles=k, vectorize_particles=True, max_plate_nesting=1)
    theirs, their_mean = over_subsamples(renyi, z, x, 2)
    assert theirs == pytest.approx(whole, rel=1e-12)
    assert abs(their_mean - whole) > 0.5


@both_ways
def test_all_particles_see_the_subsample_that_a_plate_draws(vectorize: bool) -> None:
    linear, x = Linear(size=ROWS, taken=2), rows()
    evidence = linear.evidence(x)
    possible = torch.stack([evidence[list(c)].sum() for c in combinations(range(ROWS), 2)])
    elbo = ours(3, vectorize, max_plate_nesting=1)
    torch.manual_seed(0)
    found = set()
    for _ in range(60):
        value = -elbo.loss(linear.model, linear.guide, x)
        distance = (possible * ROWS / 2 - value).abs()
        assert float(distance.min()) < 1e-9
        found.add(int(distance.argmin()))
    # The probability that 60 draws miss one of the ten pairs is 0.002.
    assert len(found) > 7


def test_a_weight_stays_inside_the_logarithm() -> None:
    linear, x, weight = Linear().blurred(), rows(), 0.3
    elbo = ours(4, max_plate_nesting=1)
    torch.manual_seed(0)
    z = torch.randn(4, ROWS, dtype=torch.float64)
    prior = dist.Normal(0.0, 1.0).log_prob(z)
    likelihood = dist.Normal(z[..., None] * linear.w + linear.b, math.sqrt(VARIANCE)).log_prob(x)
    log_q = dist.Normal(x @ linear.v + linear.a, linear.log_s.exp()).log_prob(z)
    log_w = weight * (prior + likelihood.sum(-1) - log_q)
    want = (log_w.logsumexp(0) - math.log(4)).sum()
    got = elbo.differentiable_loss(
        poutine.scale(linear.model, weight), poutine.scale(with_draws(linear, z), weight), x
    )
    torch.testing.assert_close(-got, want)


@both_ways
def test_the_gradient_is_that_of_the_value(vectorize: bool) -> None:
    linear, x = Linear(size=ROWS, taken=2).blurred(), rows()
    elbo = ours(3, vectorize, max_plate_nesting=1)
    _, slope = bound(elbo, linear, x)
    numeric = []
    for parameter in linear.parameters():
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            sides = []
            for step in (1e-5, -2e-5):
                flat[i] += step
                sides.append(bound(elbo, linear, x)[0])
            flat[i] += 1e-5
            numeric.append((sides[0] - sides[1]) / 2e-5)
    torch.testing.assert_close(slope, torch.tensor(numeric).to(slope), rtol=1e-6, atol=1e-6)
    assert float(slope.abs().min()) > 1e-3


@both_ways
def test_svi_climbs_it_to_the_evidence_of_a_better_model(vectorize: bool) -> None:
    linear, x = Linear().blurred(), rows()
    svi = SVI(
        linear.model, linear.guide, PyroOptim(torch.optim.Adam, {"lr": 0.05}), ours(3, vectorize)
    )
    score = ours(200, max_plate_nesting=1)

    def bound_now() -> Sample:
        return sample(partial(climbed, score, linear, x), 20)

    before, evidence = bound_now(), float(linear.evidence(x).sum())
    for _ in range(40):
        svi.step(x)
    after = bound_now()
    assert after.mean > before.mean + SIGMAS * math.hypot(before.error, after.error)
    assert float(linear.evidence(x).sum()) > evidence + 1
    torch.manual_seed(1)
    got = svi.evaluate_loss(x)
    torch.manual_seed(1)
    loss = svi.loss(linear.model, linear.guide, x)
    assert got == loss


@both_ways
def test_as_a_module_it_is_the_same_loss(vectorize: bool) -> None:
    linear, x = Linear().blurred(), rows()
    elbo = ours(5, vectorize, max_plate_nesting=1)
    value, slope = bound(elbo, linear, x)
    module = elbo(Part(linear, "model"), Part(linear, "guide"))
    assert isinstance(module, ELBOModule)
    linear.zero_grad()
    torch.manual_seed(0)
    loss = module(x)
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == value
    grads = [cast("Tensor", p.grad).flatten() for p in linear.parameters()]
    torch.testing.assert_close(torch.cat(grads), slope, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("vectorize", "size"), [(False, ROWS), (True, ROWS), (True, None)])
def test_it_can_be_captured_as_a_graph(vectorize: bool, size: int | None) -> None:
    linear, x = Linear(size, size and 2).blurred(), rows()
    elbo = ours(3, vectorize)  # nesting is found while the graph is traced
    loss = capture(linear.model, linear.guide, elbo, x, compile=False)
    values = []
    for seed in range(3):
        torch.manual_seed(seed)
        loss.zero_grad()
        captured = loss(x)
        captured.backward()
        got = torch.cat([cast("Tensor", p.grad).flatten() for p in linear.parameters()])
        value, slope = bound(elbo, linear, x, seed=seed)
        assert captured.item() == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(got, slope)
        values.append(value)
    assert loss.reason == ""
    assert len(set(values)) == 3
