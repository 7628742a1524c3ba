"""The linear chain z2 -> z1 -> x: known evidence, and guides that can be its exact posterior."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ppvae.bounds import StickingTheLandingELBO
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.guides import BottomUp, Ladder, TopDown
from ppvae.models import Gaussian, HierarchicalVAE, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from tests.support.hierarchies import COLUMNS, GUIDES, SIGMAS, Guide
from tests.support.pca import AFFINE, affine
from tests.support.slow import few


def set_affine(network: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer = affine(network)
    with torch.no_grad():
        layer.weight.copy_(weight), layer.bias.copy_(bias)


def set_normal(network: nn.Module, weight: Tensor, bias: Tensor, scale: Tensor) -> None:
    """Set a network to loc = weight input + bias, and to ``scale`` for any input."""
    bent = 10 * (scale.log() / 10).atanh()  # inverts the tanh of scales
    set_affine(network, torch.cat([weight, 0 * weight]), torch.cat([bias, bent]))


@dataclass(frozen=True)
class Chain:
    """z2 ~ N(0, I), z1 ~ N(V z2 + v, diag s^2), x ~ N(W z1 + w, c I), and data drawn from it."""

    model: HierarchicalVAE
    upper: Tensor
    upper_bias: Tensor
    scale: Tensor
    lower: Tensor
    lower_bias: Tensor
    c: float
    x: Tensor

    @property
    def log_p(self) -> Tensor:
        """log p(x) of each row: x ~ N(W v + w, W (V V' + diag s^2) W' + c I)."""
        within = self.upper @ self.upper.T + torch.diag(self.scale.square())
        noise = self.c * torch.eye(len(self.lower_bias), dtype=torch.float64)
        loc = self.lower @ self.upper_bias + self.lower_bias
        covariance = self.lower @ within @ self.lower.T + noise
        found: Tensor = MultivariateNormal(loc, covariance).log_prob(self.x)
        return found


def chain_of(upper: Tensor, scale: Tensor, lower: Tensor, c: float, rows: int = 8) -> Chain:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    (columns, width), top = lower.shape, upper.shape[1]
    v, w = normal(width), normal(columns)
    z1 = normal(rows, top) @ upper.T + v + scale * normal(rows, width)
    x = z1 @ lower.T + w + c**0.5 * normal(rows, columns)
    model = HierarchicalVAE(
        StandardNormal(top),
        Gaussian((columns,), variance=c),
        AFFINE,
        widths=(width, top),
        hidden=(),
    ).double()
    set_affine(model.decoder, lower, w)
    set_normal(model.between[0], upper, v, scale)
    return Chain(model, upper, v, scale, lower, w, c, x)


def oblique() -> Chain:
    """A chain whose maps are not orthogonal."""
    generator = torch.Generator().manual_seed(5)
    upper = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    lower = torch.randn(COLUMNS, 3, generator=generator, dtype=torch.float64)
    return chain_of(upper, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), lower, 1.5)


A, B, S, C = 1.5, 1.2, 0.7, 0.5  # a likelihood holds C in single precision


def orthogonal() -> Chain:
    """W = A orthonormal, V = B orthonormal and square, s = S: all posteriors are diagonal."""
    generator = torch.Generator().manual_seed(7)
    upper, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    lower, _ = torch.linalg.qr(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    return chain_of(B * upper, torch.full((3,), S, dtype=torch.float64), A * lower, C)


def posterior_of(chain: Chain, guide: Guide, widen: float = 1.0) -> Any:
    """The exact posterior of `orthogonal`; ``widen`` multiplies the guide's own scales.

    With u = W' (x - w) / A^2, p(x | z1) is, in z1, N(z1; u, C / A^2).
    """
    torch.manual_seed(0)
    more: dict[str, Any] = {} if guide is BottomUp else {"features": 3}
    made: Any = guide(chain.model, (5,), AFFINE, hidden=(), **more).double()
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    read, shift = chain.lower.T / A**2, -chain.lower.T @ chain.lower_bias / A**2
    back, v = chain.upper.T, chain.upper_bias
    noise = C / A**2

    def scale(precision: float) -> Tensor:
        return torch.full((3,), widen / math.sqrt(precision), dtype=torch.float64)

    if guide is BottomUp:
        spread = B**2 + S**2  # of z1 with z2 integrated out
        one, two = 1 / spread + 1 / noise, 1 + B**2 / S**2
        bias = (v / spread + shift / noise) / one
        set_normal(made.encoder, read / noise / one, bias, scale(one))
        set_normal(made.between[0], back / S**2 / two, -back @ v / S**2 / two, scale(two))
        return made
    made.up.activation = nn.Identity()
    set_affine(made.up.networks[0], read, shift)
    set_affine(made.up.networks[1], eye, zero)
    spread = S**2 + noise  # of u given z2
    top = 1 + B**2 / spread
    last = made.heads[1] if guide is Ladder else made.top
    set_normal(last, back / spread / top, -back @ v / spread / top, scale(top))
    if guide is Ladder:
        set_normal(made.heads[0], eye, zero, scale(1 / noise))
    else:
        one = 1 / S**2 + 1 / noise
        weight = torch.cat([chain.upper / S**2, eye / noise], -1) / one
        set_normal(made.between[0], weight, v / S**2 / one, scale(one))
    return made


def known(guide: Guide, widen: float = 1.0) -> tuple[Chain, Pair, Audit]:
    chain = orthogonal()
    batch = {"x": chain.x}
    pair = Pair(chain.model, posterior_of(chain, guide, widen), batch)
    return chain, pair, audit(pair, Trace_ELBO, batch)


def test_draws_of_the_program_have_the_evidence_of_the_linear_chain() -> None:
    chain = oblique()
    batch = {"x": chain.x}
    pair = Pair(chain.model, BottomUp(chain.model, (COLUMNS,)).double(), batch)
    torch.manual_seed(0)
    with torch.no_grad():
        draws = Densities(pair, audit(pair, Trace_ELBO, batch), batch).draw_prior(40_000)
    ratio = (draws.log_likelihood - chain.log_p).exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert bool(((ratio.mean(0) - 1).abs() < SIGMAS * error).all())
    assert float(error.max()) < 0.1


@pytest.mark.parametrize("guide", GUIDES)
def test_each_guide_can_be_the_exact_posterior_and_then_every_weight_is_the_evidence(
    guide: Guide,
) -> None:
    chain, pair, facts = known(guide)
    torch.manual_seed(0)
    draws = Densities(pair, facts, {"x": chain.x}).draw(3)
    assert draws.latents["z1"].std(0).min() > 0
    torch.testing.assert_close(draws.log_weight, chain.log_p.expand(3, -1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("guide", GUIDES)
def test_at_the_exact_posterior_the_path_gradient_of_the_guide_is_zero(guide: Guide) -> None:
    chain, pair, facts = known(guide)
    torch.manual_seed(0)
    Bound(pair, StickingTheLandingELBO, facts)({"x": chain.x}).objective.backward()
    own = [p.grad for p in pair.guide.parameters() if p.grad is not None]
    assert own
    assert max(float(g.abs().max()) for g in own) < 1e-9
    decoder = affine(chain.model.decoder).weight.grad
    assert decoder is not None
    assert float(decoder.norm()) > 0.1


@pytest.mark.parametrize("guide", GUIDES)
def test_weights_of_another_guide_are_unbiased_and_their_bounds_rise_to_the_evidence(
    guide: Guide,
) -> None:
    chain, pair, facts = known(guide, widen=1.3)
    torch.manual_seed(0)
    with torch.no_grad():
        log_ratio = Densities(pair, facts, {"x": chain.x}).draw(20_000).log_weight - chain.log_p
    ratio = log_ratio.exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert bool(((ratio.mean(0) - 1).abs() < SIGMAS * error).all())
    one, five = log_ratio.mean(), ratio.unflatten(0, (-1, 5)).mean(1).log().mean()
    assert one < five - 0.02 < -0.02


def mean_of(
    pair: Pair, elbo: type[ELBO], batch: Mapping[str, Tensor], particles: int
) -> tuple[float, float]:
    """Mean and standard error of a bound, in nats per batch."""
    bound = Bound(pair, elbo, audit(pair, elbo, batch), particles)
    torch.manual_seed(0)
    with torch.no_grad():
        values = torch.stack([bound(batch).objective for _ in range(30)])
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


@pytest.mark.parametrize("guide", few([Ladder, TopDown], 2))
def test_the_bound_by_exact_kls_is_that_by_draws(guide: Guide) -> None:
    chain, pair, _ = known(guide, widen=1.3)
    batch = {"x": chain.x}
    exact, error = mean_of(pair, TraceMeanField_ELBO, batch, 300)
    drawn, other = mean_of(pair, Trace_ELBO, batch, 300)
    assert abs(exact - drawn) < SIGMAS * math.hypot(error, other)
    assert max(error, other) < 0.1
    # At the exact posterior the bound is the evidence, also with closed-form KLs.
    chain, pair, _ = known(guide)
    exact, error = mean_of(pair, TraceMeanField_ELBO, batch, 300)
    assert abs(exact - float(chain.log_p.sum())) < SIGMAS * error
