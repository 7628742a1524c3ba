"""Laws of the gradient without the guide's score: the same mean, and zero at the posterior."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn

from ppvae.bounds import StickingTheLandingELBO
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.compilation import capture
from ppvae.guides import MeanField
from ppvae.models import VAE
from tests.support.bounds import both_ways, particles
from tests.support.gaussian_chain import (
    NOTHING,
    ROWS,
    SIGMAS,
    Chain,
    Part,
    gradient,
    loss_of,
    rows,
    sample,
    slopes,
)
from tests.support.pca import PCA, affine, pca
from tests.support.slow import few

ours, theirs = partial(particles, StickingTheLandingELBO), partial(particles, Trace_ELBO)


def bound_of(p: PCA, elbo: Any, particles: int = 1) -> Bound:
    return Bound(p.pair, elbo, audit(p.pair, elbo, {"x": p.x}), particles)


def closed_form(p: PCA, beta: float = 1.0) -> Tensor:
    """E_q[log p(x | z)] - beta KL(q || p(z)), summed over rows, as a function of the weights."""
    assert isinstance(p.pair.model, VAE)
    assert isinstance(p.pair.guide, MeanField)
    encoder, decoder = affine(p.pair.guide.encoder), affine(p.pair.model.decoder)
    loc, raw = (p.x @ encoder.weight.T + encoder.bias).chunk(2, dim=-1)
    log_scale = 10 * torch.tanh(raw / 10)
    variance = (2 * log_scale).exp()
    residual = p.x - loc @ decoder.weight.T - decoder.bias
    square = residual.square().sum() + (variance @ decoder.weight.square().sum(0)).sum()
    constant = 0.5 * p.x.numel() * math.log(2 * math.pi * p.variance)
    kl = 0.5 * (loc.square() + variance - 1 - 2 * log_scale).sum()
    return -constant - square / (2 * p.variance) - beta * kl


@both_ways
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("taken", [None, 2])
def test_the_value_is_pyros(vectorize: bool, k: int, taken: int | None) -> None:
    chain, x = Chain(2, taken and ROWS, taken).moved(), rows()
    for seed in range(3):
        values = []
        for elbo in (ours(k, vectorize), theirs(k, vectorize)):
            for call in (elbo.differentiable_loss, elbo.loss_and_grads, elbo.loss):
                elbo.max_plate_nesting = 1 + (vectorize and k > 1)
                torch.manual_seed(seed)
                value = call(chain.model, chain.guide, x)
                values.append(value.item() if isinstance(value, Tensor) else value)
        assert values == pytest.approx([values[0]] * 6, rel=1e-12)


@pytest.mark.parametrize("particles", [1, 3])
def test_at_the_exact_posterior_of_pca_the_guides_gradient_is_zero(particles: int) -> None:
    p = pca()
    guide, model = list(p.pair.guide.parameters()), list(p.pair.model.parameters())
    for seed in range(5):
        found = {}
        for elbo in (StickingTheLandingELBO, Trace_ELBO):
            torch.manual_seed(seed)
            objective = bound_of(p, elbo, particles)({"x": p.x}).objective
            found[elbo] = [
                torch.cat(
                    [g.flatten() for g in torch.autograd.grad(objective, some, retain_graph=True)]
                )
                for some in (guide, model)
            ]
        assert float(found[StickingTheLandingELBO][0].abs().max()) < NOTHING
        assert float(found[Trace_ELBO][0].abs().max()) > 1
        torch.testing.assert_close(found[StickingTheLandingELBO][1], found[Trace_ELBO][1])


@pytest.mark.parametrize(("particles", "beta"), few([(4, 1.0), (1, 0.0), (1, 0.3), (1, 1.0)], 4))
def test_elsewhere_the_expected_gradient_is_that_of_the_closed_form(
    particles: int, beta: float
) -> None:
    p = pca(rows=20, rotated=True, shift=0.2, widen=1.3)
    bound, weights = bound_of(p, StickingTheLandingELBO, particles), list(p.pair.parameters())
    truth = gradient(closed_form(p, beta), weights)
    got = sample(lambda: gradient(bound({"x": p.x}, beta).objective, weights), 120)
    assert got.holds(truth)
    # The errors are small enough for the test to be meaningful.
    assert float(got.error.norm()) < 0.1 * float(truth.norm())


@pytest.mark.slow
@both_ways
def test_particles_divide_the_variance_alike(vectorize: bool) -> None:
    chain, n = Chain(2).moved(), 60
    single = ours(max_plate_nesting=1)
    many = ours(4, vectorize, max_plate_nesting=1)
    weights, x = list(chain.parameters()), rows()

    def of(elbo: Any) -> Tensor:
        return gradient(elbo.differentiable_loss(chain.model, chain.guide, x), weights)

    one, four = sample(lambda: of(single), n), sample(lambda: of(many), n, seed=1)
    apart = (one.error.square() + four.error.square()).sqrt()
    assert bool(((one.mean - four.mean).abs() <= SIGMAS * apart + 1e-9).all())
    # A ratio of two sample variances: its log has error sqrt(4 / n) for normal draws.
    is_random = one.error > 1e-9
    ratio = (one.error[is_random] / four.error[is_random]).square() / 4
    assert bool((ratio.log().abs() < SIGMAS * 2 * math.sqrt(4 / n)).all())


class WithoutEarlierDraws(Trace_ELBO):
    """Drops d log q_i(z_i; phi, z_<i) at a given z_i completely, also through z_<i."""

    def _get_trace(self, *args: Any) -> Any:
        p, q = cast("Any", super())._get_trace(*args)
        for node in q.nodes.values():
            if node["type"] == "sample":
                score = node["fn"].log_prob(node["value"].detach())
                parts = node["score_parts"]
                node["score_parts"] = parts._replace(entropy_term=parts.log_prob - score)
        return p, q


@both_ways
@pytest.mark.parametrize("latents", [1, 2, 3])
def test_at_the_exact_posterior_of_dependent_sites_too(latents: int, vectorize: bool) -> None:
    chain = Chain(latents)
    for seed in range(3):
        slope = slopes(ours(2, vectorize), chain, chain.of_guide, seed)
        assert float(slope.abs().max()) < NOTHING
        assert float(slopes(theirs(2, vectorize), chain, chain.of_guide, seed).abs().max()) > 0.1
        simple = slopes(cast("Any", WithoutEarlierDraws)(), chain, chain.of_guide, seed)
        assert (float(simple.abs().max()) < NOTHING) is (latents == 1)


def next_slope(elbo: Any, chain: Chain, seeds: Iterator[int]) -> Tensor:
    return slopes(elbo, chain, [chain.log_s], next(seeds))


@pytest.mark.parametrize("latents", few([3, 2], 2))
def test_dependent_sites_keep_the_expected_gradient(latents: int) -> None:
    """With the same noise the two gradients differ by a score, whose mean is zero."""
    chain = Chain(latents).moved()
    weights, x = list(chain.parameters()), rows()
    seeds = iter(range(1000))

    def apart() -> Tensor:
        seed = next(seeds)
        elbos = [e(8, True, max_plate_nesting=1) for e in (ours, theirs)]
        one, other = (slopes(elbo, chain, weights, seed, x) for elbo in elbos)
        return one - other

    got = sample(apart, 40)
    assert got.holds(torch.zeros_like(got.mean))
    assert float(got.error.max()) > 0.01
    # Near the posterior the path has less noise: the draws of the guide's last scale.
    one, other = (
        sample(partial(next_slope, elbo, chain, seeds), 40) for elbo in (ours(), theirs())
    )
    assert float(one.error.norm()) < float(other.error.norm())


@both_ways
def test_the_guide_runs_once_and_its_subsample_is_drawn_once(vectorize: bool) -> None:
    chain, x = Chain(2, size=ROWS, taken=2), rows()
    elbo = ours(3, vectorize, max_plate_nesting=1)
    calls = []

    def guide(x: Tensor) -> None:
        calls.append(x)
        chain.guide(x)

    loss = loss_of(elbo, chain.model, guide, x, 0)
    assert len(calls) == (1 if vectorize else 3)
    assert float(gradient(loss, chain.of_guide).abs().max()) < NOTHING


def test_of_shared_weights_the_score_through_q_alone_is_left_out() -> None:
    w = nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    x = rows()[:, 0]

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(w, 1.0))
            pyro.sample("x", dist.Normal(w * z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(w * x, w.exp()))

    torch.manual_seed(0)
    eps = torch.randn(ROWS)
    z = w * x + w.exp() * eps
    log_p = dist.Normal(w, 1.0).log_prob(z) + dist.Normal(w * z, 1.0).log_prob(x)
    log_q = dist.Normal((w * x).detach(), w.exp().detach()).log_prob(z)
    want = gradient(-(log_p - log_q).sum(), [w])
    torch.testing.assert_close(gradient(loss_of(ours(), model, guide, x, 0), [w]), want)


@both_ways
def test_it_is_used_as_pyros_bounds_are(vectorize: bool) -> None:
    chain, x = Chain(2).moved(), rows()
    elbo = ours(3, vectorize, max_plate_nesting=1)
    weights = list(chain.parameters())
    want = slopes(elbo, chain, weights, 0)
    module = elbo(Part(chain, "model"), Part(chain, "guide"))
    torch.manual_seed(0)
    torch.testing.assert_close(gradient(module(x), weights), want)
    torch.manual_seed(0)
    elbo.loss_and_grads(chain.model, chain.guide, x)
    got = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
    torch.testing.assert_close(torch.cat([g.flatten() for g in got]), want)

    chain.zero_grad()
    svi = SVI(chain.model, chain.guide, PyroOptim(torch.optim.Adam, {"lr": 0.05}), elbo)
    before = svi.evaluate_loss(x)
    for _ in range(40):
        svi.step(x)
    assert svi.evaluate_loss(x) < before - 1


@pytest.mark.slow
@both_ways
def test_it_can_be_captured_as_a_graph(vectorize: bool) -> None:
    chain, x = Chain(3).moved(), rows()
    elbo = ours(2, vectorize)
    loss = capture(chain.model, chain.guide, elbo, x, compile=False)
    weights, values = list(chain.parameters()), []
    for seed in range(3):
        torch.manual_seed(seed)
        captured = loss(x)
        torch.testing.assert_close(gradient(captured, weights), slopes(elbo, chain, weights, seed))
        values.append(float(captured.detach()))
        assert values[-1] == pytest.approx(
            float(loss_of(elbo, chain.model, chain.guide, x, seed).detach()), rel=1e-12
        )
    assert loss.reason == ""
    assert len(set(values)) == 3
