"""Guides of hierarchies, from the bottom up, the top down, and the ladder."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound, Terms
from ppvae.compilation import capture
from ppvae.errors import InputError
from ppvae.guides import BottomUp, Ladder, MeanField, TopDown
from ppvae.guides.ladder import product
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import positive
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from tests.support.hierarchies import (
    COLUMNS,
    GUIDES,
    ROWS,
    SIGMAS,
    Guide,
    data,
    guide_of,
    model_of,
    nodes,
    pair_of,
)
from tests.support.slow import few


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
        0,
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


class Own(nn.Module):
    """A user-defined hierarchy."""

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
    """A program that is not a hierarchy."""


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
