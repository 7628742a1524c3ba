"""Laws of hierarchies: a chain with known evidence, guides that can be its exact posterior."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from ppvae import load
from ppvae.bounds import StickingTheLandingELBO
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound, Terms
from ppvae.compilation import capture
from ppvae.data import load as load_data
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.guides import BottomUp, Ladder, MeanField, TopDown
from ppvae.guides.ladder import product
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Bernoulli, Gaussian, HierarchicalVAE, StandardNormal
from ppvae.networks import MLP, positive
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.generation import reconstruct
from tests.support.fits import quick, small, weights
from tests.support.pca import AFFINE, affine
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

SIGMAS = 5.0
GUIDES = (BottomUp, Ladder, TopDown)
SMALL = partial(MLP, hidden=(8,))
ROWS, COLUMNS = 6, 4

Guide = type[BottomUp] | type[Ladder] | type[TopDown]


def data(rows: int = ROWS) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(0))}


def model_of(widths: tuple[int, ...] = (3, 2), **more: Any) -> HierarchicalVAE:
    torch.manual_seed(0)
    prior = StandardNormal(widths[-1])
    return HierarchicalVAE(
        prior, Gaussian((COLUMNS,), variance=1.0), SMALL, widths=widths, hidden=(8,), **more
    )


def guide_of(guide: Guide, model: object) -> nn.Module:
    torch.manual_seed(1)
    return guide(model, (COLUMNS,), SMALL, hidden=(8,))


def pair_of(guide: Guide, widths: tuple[int, ...] = (3, 2)) -> Pair:
    model = model_of(widths)
    return Pair(model, guide_of(guide, model), data())


def nodes(program: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    trace: Any = poutine.trace(program).get_trace(*args, **kwargs)
    trace.compute_log_prob()
    return {
        name: trace.nodes[name] for name in trace.nodes if trace.nodes[name]["type"] == "sample"
    }


# The linear chain z2 -> z1 -> x, whose every answer is known


def set_affine(network: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer = affine(network)
    with torch.no_grad():
        layer.weight.copy_(weight), layer.bias.copy_(bias)


def set_normal(network: nn.Module, weight: Tensor, bias: Tensor, scale: Tensor) -> None:
    """Have it give loc = weight input + bias, and ``scale`` whatever the input."""
    bent = 10 * (scale.log() / 10).atanh()  # undoes the bend of scales
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
    """Nothing is orthogonal to anything."""
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
    """The exact posterior of `orthogonal`; ``widen`` multiplies the scales that the guide owns.

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


@pytest.mark.parametrize("guide", [Ladder, TopDown])
def test_the_bound_by_exact_kls_is_that_by_draws(guide: Guide) -> None:
    chain, pair, _ = known(guide, widen=1.3)
    batch = {"x": chain.x}
    exact, error = mean_of(pair, TraceMeanField_ELBO, batch, 300)
    drawn, other = mean_of(pair, Trace_ELBO, batch, 300)
    assert abs(exact - drawn) < SIGMAS * math.hypot(error, other)
    assert max(error, other) < 0.1
    # At the exact posterior the bound is the evidence, by way of its closed-form KLs too.
    chain, pair, _ = known(guide)
    exact, error = mean_of(pair, TraceMeanField_ELBO, batch, 300)
    assert abs(exact - float(chain.log_p.sum())) < SIGMAS * error


# The programs themselves


def test_the_density_is_the_sum_over_layers() -> None:
    model = model_of((4, 3, 2)).double()
    x = data()["x"].double()
    torch.manual_seed(0)
    z = {f"z{i}": torch.randn(ROWS, w, dtype=torch.float64) for i, w in ((1, 4), (2, 3), (3, 2))}
    got = sum(node["log_prob"] for node in nodes(poutine.condition(model, z), x).values())

    def normal(value: Tensor, network: nn.Module, above: Tensor) -> Any:
        loc, log_scale = (v.numpy() for v in network(above).detach().unbind(-2))
        scale = np.exp(10 * np.tanh(log_scale / 10))
        return stats.norm.logpdf(value.numpy(), loc, scale).sum(-1)

    want = stats.norm.logpdf(z["z3"].numpy()).sum(-1)
    want += normal(z["z2"], model.between[1], z["z3"])
    want += normal(z["z1"], model.between[0], z["z2"])
    mean = model.decoder(z["z1"]).detach()[:, 0].numpy()
    want += stats.norm.logpdf(x.numpy(), mean).sum(-1)
    assert isinstance(got, Tensor)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("widths", [(3, 2), (4, 3, 2)])
def test_with_skips_x_is_decoded_from_all_layers_and_nothing_else_changes(
    widths: tuple[int, ...],
) -> None:
    plain, model = model_of(widths), model_of(widths, skips=True)
    x = data()["x"]
    z = {f"z{i}": torch.randn(ROWS, width) for i, width in enumerate(widths, start=1)}
    found, without = (nodes(poutine.condition(m, z), x) for m in (model, plain))
    mean = model.decoder(torch.cat(list(z.values()), -1))[:, 0]
    torch.testing.assert_close(found["x"]["log_prob"], dist.Normal(mean, 1.0).log_prob(x).sum(-1))
    model.between.load_state_dict(plain.between.state_dict())
    found = nodes(poutine.condition(model, z), x)
    for name in z:
        torch.testing.assert_close(found[name]["log_prob"], without[name]["log_prob"])
    for guide in GUIDES:
        pair = Pair(model, guide_of(guide, model), data())
        torch.manual_seed(0)
        loss = Trace_ELBO().differentiable_loss(pair.call_model, pair.call_guide, **data())
        (slope,) = torch.autograd.grad(loss, next(model.decoder.parameters()))
        assert bool(slope.abs().sum(0).gt(0).all())  # no layer is left out


def test_by_default_each_layer_is_twice_as_wide_as_that_above() -> None:
    def widths(top: int, **more: Any) -> tuple[int, ...]:
        return HierarchicalVAE(
            StandardNormal(top), Gaussian((2,), variance=1.0), AFFINE, **more
        ).widths

    assert widths(50) == (100, 50)
    assert widths(4, layers=5) == (64, 32, 16, 8, 4)
    assert widths(2, widths=[7, 5, 2]) == widths(2, widths=[7, 5, 2], layers=3) == (7, 5, 2)


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("widths", [(3, 2), (3, 5, 2)])
def test_model_and_guide_agree_on_every_layer(guide: Guide, widths: tuple[int, ...]) -> None:
    facts = audit(pair_of(guide, widths), Trace_ELBO, data())
    assert facts.latents == tuple(f"z{layer}" for layer in range(len(widths), 0, -1))
    assert [site.shape for site in facts.sites[:-1]] == [(ROWS, w) for w in reversed(widths)]
    assert (facts.is_local, facts.vectorizes, facts.axes.data) == (True, True, -1)
    drawn: Any = pair_of(guide, widths).call_guide(**data())
    assert [tuple(z.shape) for z in drawn] == [(ROWS, width) for width in widths]


def test_the_analytic_bound_is_exact_from_the_top_down_and_refused_from_the_bottom_up() -> None:
    for guide in (Ladder, TopDown):
        facts = audit(pair_of(guide, (4, 3, 2)), TraceMeanField_ELBO, data())
        assert facts.exact == {"z1", "z2", "z3"}
        assert facts.notes == ()
    sentence = (
        "in the model 'z1' depends on 'z2', and in the guide 'z2' depends on 'z1': "
        "TraceMeanField_ELBO would be wrong by nats for such a pair; take Trace_ELBO"
    )
    with pytest.raises(InputError, match=sentence):
        audit(pair_of(BottomUp), TraceMeanField_ELBO, data())


def test_a_guide_of_one_latent_is_refused_by_the_names_of_the_sites() -> None:
    pair = Pair(model_of(), MeanField(2, (COLUMNS,)), data())
    with pytest.raises(InputError, match=r"the guide samples 'z', .* \(its latents: 'z2', 'z1'\)"):
        audit(pair, TraceMeanField_ELBO, data())


def test_a_product_of_normals_is_proportional_to_the_densities_multiplied() -> None:
    torch.manual_seed(0)
    a, b = (
        dist.Normal(torch.randn(5, 3).double(), torch.rand(5, 3).double() + 0.2).to_event(1)
        for _ in range(2)
    )
    fn = product(a, b)
    z = torch.randn(7, 5, 3, dtype=torch.float64)
    constant = a.log_prob(z) + b.log_prob(z) - fn.log_prob(z)
    torch.testing.assert_close(constant, constant[:1].expand(7, -1), rtol=0, atol=1e-10)
    # Its mass is the density of the locs' difference, N(loc_a; loc_b, s_a^2 + s_b^2).
    apart = dist.Normal(b.mean, (a.variance + b.variance).sqrt()).to_event(1)
    torch.testing.assert_close(constant[0], apart.log_prob(a.mean))


def test_a_product_of_extreme_normals_has_finite_gradients() -> None:
    ends = torch.tensor([math.exp(-10), 1.0, math.exp(10)])
    scales = torch.cartesian_prod(ends, ends)
    locs = torch.tensor([[1e3, -1e3]]).expand(9, 2)
    given = [t.clone().requires_grad_() for t in (*locs.T[:, :, None], *scales.T[:, :, None])]
    a, b = dist.Normal(given[0], given[2]).to_event(1), dist.Normal(given[1], given[3]).to_event(1)
    fn = product(a, b)
    assert bool((fn.stddev <= torch.minimum(a.stddev, b.stddev) * 1.0001).all())
    (kl_divergence(fn, b) + fn.log_prob(fn.rsample())).sum().backward()
    assert all(t.grad is not None and bool(t.grad.isfinite().all()) for t in given)


def test_the_ladder_multiplies_what_x_says_by_the_models_own_conditional() -> None:
    model = model_of((4, 3, 2)).double()
    guide: Any = guide_of(Ladder, model).double()
    x = data()["x"].double()
    torch.manual_seed(0)
    found = nodes(guide, x)
    d1 = guide.up.activation(guide.up.networks[0](x))
    d2 = guide.up.activation(guide.up.networks[1](d1))
    for layer, d in ((1, d1), (2, d2)):
        above = found[f"z{layer + 1}"]["value"]
        m, raw = guide.heads[layer - 1](d).unbind(-2)
        loc, raw_scale = model.between[layer - 1](above).unbind(-2)
        s, scale = posterior_scale(raw), positive(raw_scale)
        precision = 1 / s**2 + 1 / scale**2
        fn = found[f"z{layer}"]["fn"]
        torch.testing.assert_close(fn.mean, (m / s**2 + loc / scale**2) / precision)
        torch.testing.assert_close(fn.stddev, precision**-0.5)
    d3 = guide.up.activation(guide.up.networks[2](d2))
    torch.testing.assert_close(found["z3"]["fn"].mean, guide.heads[2](d3)[:, 0])


def test_a_plain_guide_from_the_top_reads_its_own_part_of_x_beside_the_draw_above() -> None:
    guide: Any = guide_of(TopDown, model_of((4, 3, 2))).double()
    x = data()["x"].double()
    torch.manual_seed(0)
    found = nodes(guide, x)
    d = guide.up(x)
    torch.testing.assert_close(found["z3"]["fn"].mean, guide.top(d[2])[:, 0])
    for layer in (1, 2):
        known = torch.cat([found[f"z{layer + 1}"]["value"], d[layer - 1]], -1)
        torch.testing.assert_close(
            found[f"z{layer}"]["fn"].mean, guide.between[layer - 1](known)[:, 0]
        )


@pytest.mark.parametrize("guide", [Ladder, TopDown])
def test_the_top_layer_teaches_the_encoder_through_all_of_the_pass_up(guide: Guide) -> None:
    q: Any = guide_of(guide, model_of((4, 3, 2)))
    top = nodes(q, **data())["z3"]["fn"].mean.sum()
    grads = torch.autograd.grad(top, list(q.up.networks.parameters()))
    assert all(float(g.norm()) > 0 for g in grads)


def test_the_ladders_kl_of_each_layer_is_that_of_its_draws() -> None:
    pair = pair_of(Ladder, (4, 3, 2)).double()
    batch = {"x": data()["x"].double()}
    torch.manual_seed(0)
    with torch.no_grad(), pyro.plate("particles", 20_000, dim=-2):
        q: Any = poutine.trace(pair.call_guide).get_trace(**batch)
        p: Any = poutine.trace(poutine.replay(pair.call_model, trace=q)).get_trace(**batch)
    for site in ("z1", "z2", "z3"):
        one, other, z = q.nodes[site]["fn"], p.nodes[site]["fn"], q.nodes[site]["value"]
        gap = one.log_prob(z) - other.log_prob(z) - kl_divergence(one, other)
        error = gap.std(0) / math.sqrt(len(gap))
        assert bool((gap.mean(0).abs() < SIGMAS * error).all())


def test_the_ladder_trains_the_model_through_its_own_draws_and_owns_none_of_it() -> None:
    pair = pair_of(Ladder)
    model: Any = pair.model
    sum(node["log_prob"].sum() for node in nodes(pair.call_guide, **data()).values()).backward()
    assert all(float(p.grad.norm()) > 0 for p in model.between.parameters())
    assert all(p.grad is None for p in model.decoder.parameters())
    shared = {id(p) for p in model.parameters()} & {id(p) for p in pair.guide.parameters()}
    assert not shared
    state = pair.state_dict()
    assert len({t.data_ptr() for t in state.values()}) == len(state)
    assert all(name.startswith(("model.", "guide.up.", "guide.heads.")) for name in state)


@pytest.mark.parametrize("guide", GUIDES)
def test_weights_alone_bring_a_pair_back(guide: Guide) -> None:
    def bound(pair: Pair) -> Tensor:
        torch.manual_seed(2)
        terms: Terms = Bound(pair, Trace_ELBO, audit(pair, Trace_ELBO, data()))(data())
        return terms.objective

    pair = pair_of(guide)
    with torch.no_grad():
        for p in pair.parameters():
            p.add_(torch.randn_like(p))
    other = pair_of(guide)
    assert not torch.equal(bound(other), bound(pair))
    other.load_state_dict(pair.state_dict())
    assert torch.equal(bound(other), bound(pair))


@pytest.mark.parametrize("guide", GUIDES)
def test_each_particle_follows_its_own_draws(guide: Guide) -> None:
    pair = pair_of(guide).double()
    batch = {"x": data()["x"].double()}
    densities = Densities(pair, audit(pair, Trace_ELBO, batch), batch)
    torch.manual_seed(0)
    with torch.no_grad():
        together = densities.draw(4)
        for k in range(4):
            alone = densities.at({name: z[k : k + 1] for name, z in together.latents.items()})
            torch.testing.assert_close(alone.log_weight[0], together.log_weight[k])
    assert together.log_weight.std(0).min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("guide", GUIDES)
def test_densities_keep_the_type_and_finite_gradients_for_any_data(
    guide: Guide, dtype: torch.dtype
) -> None:
    pair = pair_of(guide).to(dtype)
    for size in (1.0, 1e6):
        pair.zero_grad()
        found = nodes(pair.call_guide, x=size * data()["x"])
        latents = {name: node["value"] for name, node in found.items() if name != "data"}
        total = sum(node["log_prob"].sum() for node in found.values())
        p = nodes(poutine.condition(pair.call_model, latents), x=size * data()["x"])
        total = total + sum(p[name]["log_prob"].sum() for name in latents)
        assert isinstance(total, Tensor)
        assert total.dtype == dtype
        total.backward()
        grads = [p.grad for p in pair.parameters() if p.grad is not None]
        assert grads
        assert all(bool(g.isfinite().all()) for g in grads)


@pytest.mark.parametrize(
    ("guide", "elbo"),
    few(
        [
            (TopDown, TraceMeanField_ELBO()),
            (Ladder, TraceMeanField_ELBO()),
            (BottomUp, Trace_ELBO()),
        ],
        3,
    ),
)
def test_captured_it_is_pyros_own_loss(guide: Guide, elbo: Trace_ELBO) -> None:
    x = data()["x"]
    model = model_of()
    q = guide_of(guide, model)
    captured = capture(model, q, elbo, x, compile=False)
    params = [*model.parameters(), *q.parameters()]
    torch.manual_seed(3)
    got = captured(x)
    torch.manual_seed(3)
    want = elbo.differentiable_loss(model, q, x)
    assert captured.reason == ""
    torch.testing.assert_close(got, want)
    for one, other in zip(
        torch.autograd.grad(got, params), torch.autograd.grad(want, params), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_missing_entries_are_left_out_whatever_stands_there() -> None:
    model = model_of()
    x = data()["x"]
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    z = {"z2": torch.randn(ROWS, 2), "z1": torch.randn(ROWS, 3)}
    held = poutine.condition(model, z)
    got = nodes(held, x, mask=mask)["x"]["log_prob"]
    elsewhere = torch.where(mask, x, torch.full_like(x, 1e4))
    torch.testing.assert_close(nodes(held, elsewhere, mask=mask)["x"]["log_prob"], got)
    mean = model.decoder(z["z1"])[:, 0]
    terms = dist.Normal(mean, 1.0).log_prob(x)
    torch.testing.assert_close(got, (terms * mask).sum(-1))


class Own(nn.Module):
    """A hierarchy of somebody's own."""

    widths = (3, 2)

    def conditional(self, layer: int, above: Tensor) -> dist.TorchDistribution:
        loc = above.sum(-1, keepdim=True).expand(*above.shape[:-1], self.widths[layer - 1])
        fn: dist.TorchDistribution = dist.Normal(loc, 1.0).to_event(1)
        return fn

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z1 = pyro.sample("z1", self.conditional(1, z2))
            pyro.sample("x", dist.Normal(z1.sum(-1, keepdim=True), 1.0).expand(x.shape).to_event(1),
                        obs=x)  # fmt: skip


@pytest.mark.parametrize("guide", GUIDES)
def test_a_hierarchy_of_ones_own_is_served(guide: Guide) -> None:
    model = Own()
    pair = Pair(model, guide_of(guide, model), data())
    assert audit(pair, Trace_ELBO, data()).latents == ("z2", "z1")


def function(x: Tensor) -> None:
    """A program that is no hierarchy."""


@pytest.mark.parametrize("guide", [Ladder, TopDown])
def test_a_pass_up_of_single_numbers_is_refused(guide: type[Ladder] | type[TopDown]) -> None:
    with pytest.raises(InputError, match=r"`guide\.features` is 1; it must be at least 2"):
        guide(model_of(), (COLUMNS,), features=1)


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize(
    ("model", "name"),
    [(VAE(StandardNormal(2), Gaussian((2,), variance=1.0)), "VAE"), (function, "function")],
)
def test_a_model_of_one_layer_is_refused_with_the_way_out(
    guide: Guide, model: object, name: str
) -> None:
    sentence = f"`guide='{guide.__name__}'` infers .* and the model {name} has no .*; take `mod"
    with pytest.raises(InputError, match=sentence):
        guide(model, (2,))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"layers": 0}, "`model.layers` is 0; HierarchicalVAE has at least 2 layers"),
        ({"layers": 1, "widths": (2,)}, "`model.layers` is 1; .* for one take `model='VAE'`"),
        ({"widths": (2,)}, r"`model.widths` is \[2\]; HierarchicalVAE has at least 2 layers"),
        ({"layers": 3, "widths": (4, 2)}, r"`model.widths` is \[4, 2\] and `model.layers` is 3"),
        ({"widths": (4, 3)}, "the last layer, has 2 dimensions; give `latent_dim=3`"),
        ({"widths": (0, 2)}, r"`model.widths` is \[0, 2\]; each layer needs a width of at least 1"),
    ],
)
def test_layers_and_widths_that_make_no_sense_are_refused(
    more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        HierarchicalVAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE, **more)


# Together with the rest of the package


def test_a_fit_by_name_is_found_again_on_disk(tmp_path: Path) -> None:
    run = small(
        tmp_path,
        model={"class_path": "HierarchicalVAE", "init_args": {"widths": "3,2", "hidden": "8"}},
        guide={"class_path": "Ladder", "init_args": {"features": 5}},
    )
    assert run.config["model"]["init_args"]["widths"] == [3, 2]
    assert not any("_model" in name for name in weights(run.path))
    again = load(run.path)
    x = torch.zeros(4, 3)
    for one, other in zip(run.guide(x), again.guide(x), strict=True):
        assert one.shape == other.shape
    for name, value in run.pair.state_dict().items():
        assert torch.equal(value, again.pair.state_dict()[name])
    model: Any = again.model
    assert model.widths == (3, 2)
    found = encode(again, samples=3)
    rows = len(found["log_p"])
    assert (found["loc_z1"].shape, found["scale_z2"].shape) == ((rows, 3), (rows, 2))
    mean, drawn = reconstruct(again.pair, again.audit, {"x": x})
    assert mean.shape == drawn.shape == x.shape


def test_a_short_fit_beats_the_independent_marginal_of_binarized_digits() -> None:
    digits = load_data("digits", binarize="static")
    train, test = (
        split.take(torch.arange(len(split)))["x"] for split in (digits.train, digits.test)
    )
    shape = tuple(train.shape[1:])
    torch.manual_seed(0)
    model = HierarchicalVAE(
        StandardNormal(4), Bernoulli(shape), partial(MLP, hidden=(64,)), hidden=(32,)
    )
    pair = Pair(
        model,
        Ladder(model, shape, partial(MLP, hidden=(64,)), features=32, hidden=(32,)),
        {"x": train},
    )
    bound = Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, {"x": train[:9]}))
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-2)
    for epoch in range(14):
        for rows in torch.randperm(len(train)).split(128):
            optimizer.zero_grad()
            (-bound({"x": train[rows]}, min(1.0, epoch / 7)).objective / len(rows)).backward()
            optimizer.step()
    with torch.no_grad():
        elbo = np.mean([float(bound({"x": test}).objective) / len(test) for _ in range(10)])
    mean = (train.sum(0) + 1) / (len(train) + 2)
    marginal = float(dist.Bernoulli(probs=mean).log_prob(test).sum((1, 2, 3)).mean())
    assert elbo > marginal + 1
