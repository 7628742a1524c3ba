"""Laws of the importance-weighted bound's gradient without the guide's score."""

import math
from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.infer.autoguide.effect import AutoNormalMessenger
from pyro.optim import PyroOptim
from torch import Tensor, nn

from ppvae.bounds import (
    DoublyReparameterizedELBO,
    ImportanceWeightedELBO,
    StickingTheLandingELBO,
)
from ppvae.compilation import capture
from ppvae.errors import InputError
from tests.support.bounds import both_ways
from tests.support.gaussian_chain import (
    NOTHING,
    ROWS,
    SIGMAS,
    Chain,
    Latents,
    Part,
    Program,
    gradient,
    loss_of,
    rows,
    sample,
    slopes,
)
from tests.support.one_latent import planar_pair
from tests.support.slow import few


def ours(k: int = 3, vectorize: bool = True, elbo: Any = DoublyReparameterizedELBO) -> Any:
    return elbo(num_particles=k, vectorize_particles=vectorize, max_plate_nesting=1)


def plain(k: int = 3, vectorize: bool = True) -> Any:
    return ours(k, vectorize, ImportanceWeightedELBO)


@both_ways
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("taken", [None, 2])
def test_value_and_gradient_of_the_model_are_those_of_the_importance_weighted_bound(
    vectorize: bool, k: int, taken: int | None
) -> None:
    chain, x = Chain(2, taken and ROWS, taken).moved(), rows()
    values = []
    for elbo in (ours(k, vectorize), plain(k, vectorize)):
        for call in (elbo.differentiable_loss, elbo.loss_and_grads, elbo.loss):
            torch.manual_seed(0)
            value = call(chain.model, chain.guide, x)
            values.append(value.item() if isinstance(value, Tensor) else value)
    assert len(set(values)) == 1
    one, other = (slopes(e(k, vectorize), chain, chain.of_model, 0) for e in (ours, plain))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert float(one.abs().max()) > 0.1


@both_ways
@pytest.mark.parametrize("taken", [None, 2])
def test_one_particle_is_sticking_the_landing(vectorize: bool, taken: int | None) -> None:
    chain = Chain(3, taken and ROWS, taken).moved()
    one, other = (
        slopes(ours(1, vectorize, elbo), chain, list(chain.parameters()), 0)
        for elbo in (DoublyReparameterizedELBO, StickingTheLandingELBO)
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@both_ways
@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("taken", [None, 2])
def test_at_the_exact_posterior_the_guides_gradient_is_zero(
    vectorize: bool, latents: int, taken: int | None
) -> None:
    chain = Chain(latents, taken and ROWS, taken)
    for seed in range(3):
        slope = slopes(ours(4, vectorize), chain, chain.of_guide, seed)
        assert float(slope.abs().max()) < NOTHING
        assert float(slopes(plain(4, vectorize), chain, chain.of_guide, seed).abs().max()) > 0.1


REPEATS, PARTS = 600, 20
SOME = torch.arange(ROWS * REPEATS) % 2 == 0
WAYS: dict[str, Callable[[Program], Program]] = {
    "as it is": lambda program: program,
    "all scaled": lambda program: poutine.scale(program, scale=0.4),
    "latents scaled": lambda program: Latents(0.4)(program),
    "latents scaled up": lambda program: Latents(torch.tensor(1.5))(program),
    "latents free": lambda program: Latents(0.0)(program),
    "rows scaled": lambda program: poutine.scale(program, scale=0.5 + SOME.double()),
    "latents masked": lambda program: Latents(1.0, SOME)(program),
    "rows masked": lambda program: cast("Program", cast("Any", poutine.mask)(program, mask=SOME)),
}


@pytest.mark.parametrize("way", few(WAYS, 3))
def test_it_is_the_derivative_of_the_expected_bound_by_finite_differences(way: str) -> None:
    """The gradient for two dependent sites, in two directions, with common random numbers."""
    chain = Chain(2).moved()
    model, guide, x = WAYS[way](chain.model), WAYS[way](chain.guide), rows().repeat(REPEATS, 1)
    weights = chain.of_guide
    start = nn.utils.parameters_to_vector(weights).detach()
    directions = torch.randn(2, len(start), generator=torch.Generator().manual_seed(1)).to(start)

    def values(at: Tensor) -> Tensor:
        nn.utils.vector_to_parameters(at, weights)
        with torch.no_grad():
            return torch.stack([loss_of(plain(4), model, guide, x, s) for s in range(PARTS)])

    steps = 1e-5 * directions
    numeric = torch.stack([(values(start + s) - values(start - s)) / 2e-5 for s in steps], -1)
    nn.utils.vector_to_parameters(start, weights)
    losses = [loss_of(ours(4), model, guide, x, s) for s in range(PARTS)]
    analytic = torch.stack([gradient(loss, weights) for loss in losses]) @ directions.T
    apart = (analytic - numeric) / REPEATS
    assert bool((apart.mean(0).abs() <= SIGMAS * apart.std(0) / math.sqrt(PARTS) + 1e-6).all())
    # The errors are small enough for the test to be meaningful.
    assert float(apart.std(0).norm()) / math.sqrt(PARTS) < 0.05 * float(
        analytic.mean(0).norm() / REPEATS
    )


@both_ways
@pytest.mark.parametrize("taken", few([2, None], 2))
def test_its_mean_is_that_of_the_gradient_of_the_value(vectorize: bool, taken: int | None) -> None:
    """For three dependent sites and the same noise, the difference of both has mean zero."""
    chain, x = Chain(3, taken and ROWS, taken).moved(), rows()
    seeds = iter(range(1000))

    def apart() -> Tensor:
        seed = next(seeds)
        one, other = (
            slopes(e(3, vectorize), chain, chain.of_guide, seed, x) for e in (ours, plain)
        )
        return one - other

    got = sample(apart, 50 if vectorize else 25)
    assert got.holds(torch.zeros_like(got.mean))
    assert float(got.error.max()) > 0.01


@pytest.mark.slow
def test_more_particles_raise_its_signal_to_noise_and_lower_that_of_the_other() -> None:
    """For a guide near the posterior; the rates of Rainforth et al. are sqrt(K) and 1 / sqrt(K)."""
    chain, x = Chain(1), rows()
    with torch.no_grad():
        chain.a.add_(0.1)
    seeds = iter(range(10_000))

    def ratio(elbo: Any) -> float:
        got = sample(lambda: slopes(elbo, chain, [chain.a], next(seeds), x), 50)
        return float((got.mean / got.error).abs()) / math.sqrt(50)

    assert ratio(ours(100)) > 2 * ratio(ours(2))
    assert ratio(ours(100)) > 4 * ratio(plain(100))
    assert ratio(plain(100)) < ratio(plain(2)) / 1.5


def jacobian(scale: Tensor, loc: Tensor) -> None:
    """z0 = loc + scale * u, where u is a draw with its own path."""
    u = pyro.sample("u", dist.Normal(loc / 2, scale), infer={"is_auxiliary": True})
    pyro.sample("z0", dist.Delta(loc + scale * u, -scale.log().expand(u.shape)))


def uniform(scale: Tensor, loc: Tensor) -> None:
    """The density of the second site depends on the first draw, and has no score."""
    u = pyro.sample("u", dist.Normal(loc, scale), infer={"is_auxiliary": True})
    pyro.sample("z0", dist.Uniform(u - 3 * scale, u + 3 * scale))


@pytest.mark.parametrize("program", [jacobian, uniform])
def test_densities_that_are_left_whole_keep_its_mean(
    program: Callable[[Tensor, Tensor], None],
) -> None:
    chain, x = Chain(1).moved(), rows().repeat(200, 1)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            program(chain.log_s[0].exp(), x @ chain.V[0] + chain.a[0])

    seeds = iter(range(1000))

    def apart() -> Tensor:
        seed = next(seeds)
        one, other = (
            gradient(loss_of(e(4), chain.model, guide, x, seed), chain.of_guide)
            for e in (ours, plain)
        )
        return (one - other) / len(x)

    got = sample(apart, 40)
    assert got.holds(torch.zeros_like(got.mean))
    assert float(got.error.max()) > 1e-4


def test_auxiliary_sites_count_in_q() -> None:
    """The exact posterior, with z0 = 2 u, where u is not in the model."""
    chain, x = Chain(1), rows()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = x @ chain.V[0] + chain.a[0], chain.log_s[0].exp()
            u = pyro.sample("u", dist.Normal(loc / 2, scale / 2), infer={"is_auxiliary": True})
            pyro.sample("z0", dist.Delta(2 * u, torch.full_like(u, -math.log(2))))

    slope = gradient(loss_of(ours(), chain.model, guide, x, 0), chain.of_guide)
    assert float(slope.abs().max()) < NOTHING


def test_inner_plates_are_parts_of_a_datum() -> None:
    """Two latents per datum in their own plate: zero at the posterior, else the same mean."""
    w = nn.Parameter(torch.tensor([0.3, 0.2], dtype=torch.float64))
    x = rows()[:, :2].repeat(300, 1)

    def model(x: Tensor) -> None:
        data = pyro.plate("data", len(x), dim=-1)
        with data:
            pyro.sample("label", dist.Normal(0.0, 1.0), obs=x[:, 0])
        with data, pyro.plate("columns", 2, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1), pyro.plate("columns", 2, dim=-2):
            pyro.sample("z", dist.Normal((w[0] + 0.5) * x.T, (0.5 + w[1]) ** 0.5))

    def slope(elbo: Any, seed: int) -> Tensor:
        bound = elbo(num_particles=3, vectorize_particles=True, max_plate_nesting=2)
        return gradient(loss_of(bound, model, guide, x, seed), [w]) / len(x)

    seeds = iter(range(1000))

    def apart() -> Tensor:
        seed = next(seeds)
        return slope(DoublyReparameterizedELBO, seed) - slope(ImportanceWeightedELBO, seed)

    got = sample(apart, 40)
    assert got.holds(torch.zeros_like(got.mean))
    assert float(got.error.max()) < 0.05 * float(slope(DoublyReparameterizedELBO, 0).norm())
    # A weight may be a tensor instead of a number; one that differs between parts is refused.
    elbo = cast("Any", DoublyReparameterizedELBO)(num_particles=3, max_plate_nesting=2)
    slopes = [
        gradient(loss_of(elbo, by(model), by(guide), x, 0), [w])
        for by in (Latents(0.4), Latents(torch.tensor(0.4, dtype=torch.float64)))
    ]
    torch.testing.assert_close(*slopes)
    of_parts = Latents(1.0, torch.tensor([[True], [False]]))
    with pytest.raises(InputError, match="'z' of the guide has another scale or mask"):
        loss_of(elbo, of_parts(model), of_parts(guide), x, 0)
    with torch.no_grad():
        w.zero_()
    assert float(slope(DoublyReparameterizedELBO, 0).abs().max()) < NOTHING


def test_of_shared_weights_the_way_through_p_is_the_models() -> None:
    w, k = nn.Parameter(torch.tensor(0.4, dtype=torch.float64)), 3
    x = rows()[:, 0]

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(w, 1.0))
            pyro.sample("x", dist.Normal(w * z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(w * x, w.exp()))

    torch.manual_seed(0)
    eps = torch.randn(k, ROWS, dtype=torch.float64)
    given = (w * x + w.exp() * eps).detach().requires_grad_()
    log_p = dist.Normal(w, 1.0).log_prob(given) + dist.Normal(w * given, 1.0).log_prob(x)
    log_w = log_p - dist.Normal((w * x).detach(), w.exp().detach()).log_prob(given)
    v = log_w.softmax(0).detach()
    (slope,) = torch.autograd.grad(log_w.sum(), given, retain_graph=True)
    draws = w * x + w.exp() * eps
    want = gradient(-(v * log_p).sum() - (v**2 * slope * draws).sum(), [w])
    torch.testing.assert_close(gradient(loss_of(ours(k), model, guide, x, 0), [w]), want)


@pytest.mark.slow
def test_guides_that_draw_inside_the_model_work() -> None:
    chain, x = Chain(2), rows()
    with pyro.settings.context(module_local_params=True):
        guide = AutoNormalMessenger(chain.model)
        guide(x)
        weights = list(guide.parameters())
        seeds = iter(range(1000))

        def apart() -> Tensor:
            seed = next(seeds)
            one, other = (
                gradient(loss_of(e(3, False), chain.model, guide, x, seed), weights)
                for e in (ours, plain)
            )
            return one - other

        got = sample(apart, 40)
        assert got.holds(torch.zeros_like(got.mean))
        assert float(got.error.max()) > 0.01


@both_ways
def test_it_is_used_as_pyros_bounds_are(vectorize: bool) -> None:
    chain, x = Chain(2).moved(), rows()
    elbo, weights = ours(3, vectorize), list(chain.parameters())
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
    chain, x = Chain(2).moved(), rows()
    # As a tensor, like a weight in a graph, whose value is not read.
    weight = torch.tensor(0.4, dtype=torch.float64)
    model, guide = (Latents(weight)(program) for program in (chain.model, chain.guide))
    elbo, weights = ours(2, vectorize), list(chain.parameters())
    loss = capture(model, guide, elbo, x, compile=False)
    for seed in range(2):
        torch.manual_seed(seed)
        captured, eager = loss(x), loss_of(elbo, model, guide, x, seed)
        torch.manual_seed(seed)
        torch.testing.assert_close(loss(x), eager)
        torch.testing.assert_close(gradient(captured, weights), gradient(eager, weights))
    assert loss.reason == ""


class Second(poutine.messenger.Messenger):
    """Scales the second latent only."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == "z1":
            msg["scale"] = 0.5


@both_ways
def test_latents_of_different_powers_are_refused(vectorize: bool) -> None:
    chain, x = Chain(2).moved(), rows()
    model, guide = (Second()(program) for program in (chain.model, chain.guide))
    with pytest.raises(InputError, match="'z1' of the guide has another scale or mask"):
        ours(3, vectorize).differentiable_loss(model, guide, x)


@both_ways
def test_flows_without_an_inverse_are_refused(vectorize: bool) -> None:
    with pytest.raises(InputError, match=r"'z' of the guide.*has no inverse.*Trace_ELBO"):
        ours(3, vectorize).differentiable_loss(*planar_pair(), rows())
