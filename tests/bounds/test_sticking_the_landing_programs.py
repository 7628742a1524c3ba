"""The gradient without the guide's score: scales, masks, flows, Pyro's guides, and refusals."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.zuko import ZukoToPyro
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from pyro.infer.autoguide.effect import AutoNormalMessenger
from torch import Tensor, nn

from ppvae.bounds import StickingTheLandingELBO
from ppvae.errors import InputError
from tests.support.bounds import both_ways, particles
from tests.support.gaussian_chain import (
    NOTHING,
    ROWS,
    VARIANCE,
    Chain,
    Program,
    gradient,
    loss_of,
    rows,
    sample,
)
from tests.support.one_latent import discrete, discrete_guide, planar_pair

ours, theirs = partial(particles, StickingTheLandingELBO), partial(particles, Trace_ELBO)


def score(chain: Chain, guide: Program, x: Tensor, seed: int, parameters: Any) -> Tensor:
    """d log q / d phi at given draws, by a second scoring of the guide."""
    torch.manual_seed(seed)
    drawn: Any = poutine.trace(guide).get_trace(x)
    drawn.detach_()
    again: Any = poutine.trace(poutine.replay(guide, trace=drawn)).get_trace(x)
    return gradient(again.log_prob_sum(), parameters)


def masked(program: Program) -> Program:
    handler: Any = poutine.mask
    return cast("Program", handler(program, mask=torch.arange(ROWS) % 2 == 0))


def scaled(program: Program) -> Program:
    return poutine.scale(program, scale=0.3)


@pytest.mark.parametrize("weigh", [lambda program: program, scaled, masked])
def test_what_is_left_out_is_the_score_under_scales_masks_and_subsamples(
    weigh: Callable[[Program], Program],
) -> None:
    x = rows()
    chains = [Chain(3).moved()]
    if weigh is not masked:
        chains.append(Chain(3, ROWS, 2).moved())
    for chain in chains:
        model, guide, weights = weigh(chain.model), weigh(chain.guide), list(chain.parameters())
        for seed in range(2):
            loss, whole = (loss_of(e, model, guide, x, seed) for e in (ours(), theirs()))
            apart = gradient(whole, weights) - gradient(loss, weights)
            left_out = score(chain, guide, x, seed, weights)
            torch.testing.assert_close(apart, left_out)
            assert float(left_out.abs().max()) > 0.1


def test_a_mask_that_leaves_nothing_leaves_nothing() -> None:
    chain, x = Chain(2).moved(), rows()
    nothing = poutine.mask(chain.guide, mask=False)
    weights = list(chain.parameters())
    loss, whole = (loss_of(e, chain.model, nothing, x, 0) for e in (ours(), theirs()))
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient(loss, weights), gradient(whole, weights))


class Remembering(torch.distributions.Normal):
    """Draws and scores in one call, like zuko's flows."""

    def rsample_and_log_prob(self, shape: Any = ()) -> tuple[Tensor, Tensor]:
        z = self.rsample(shape)
        return z, cast("Any", self).log_prob(z)


@pytest.mark.parametrize(
    "family",
    [
        lambda loc, scale: ZukoToPyro(Remembering(loc, scale)),
        lambda loc, scale: dist.TransformedDistribution(
            dist.Normal(torch.zeros_like(loc), torch.ones_like(loc)),
            [dist.transforms.AffineTransform(loc, scale, cache_size=1)],
        ),
    ],
)
def test_flows_that_remember_the_density_of_their_own_draw(
    family: Callable[[Tensor, Tensor], Any],
) -> None:
    """The density of such a draw is computed from its noise, including the weights."""
    chain, x = Chain(1), rows()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample(
                "z0", family(x @ chain.V[0] + chain.a[0], chain.log_s[0].exp().expand(ROWS))
            )

    weights = [chain.V, chain.a, chain.log_s]
    for seed in range(3):
        slope = gradient(loss_of(ours(), chain.model, guide, x, seed), weights)
        assert float(slope.abs().max()) < NOTHING
        value, pyros = (loss_of(e, chain.model, guide, x, seed) for e in (ours(), theirs()))
        torch.testing.assert_close(value, pyros)


def test_auxiliary_sites_count_in_q() -> None:
    """z0 = 2 u, where u is not in the model."""
    chain, x = Chain(1), rows()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = x @ chain.V[0] + chain.a[0], chain.log_s[0].exp()
            u = pyro.sample("u", dist.Normal(loc / 2, scale / 2), infer={"is_auxiliary": True})
            pyro.sample("z0", dist.Delta(2 * u, torch.full_like(u, -math.log(2))))

    weights = [chain.V, chain.a, chain.log_s]
    for seed in range(3):
        slope = gradient(loss_of(ours(), chain.model, guide, x, seed), weights)
        assert float(slope.abs().max()) < NOTHING
        assert float(gradient(loss_of(theirs(), chain.model, guide, x, seed), weights).norm()) > 0.1


def jacobian(scale: Tensor, loc: Tensor) -> None:
    u = pyro.sample("u", dist.Normal(torch.zeros_like(loc), 1.0), infer={"is_auxiliary": True})
    pyro.sample("z0", dist.Delta(loc + scale * u, -scale.log().expand(ROWS)))


def factor(scale: Tensor, loc: Tensor) -> None:
    u = pyro.sample("u", dist.Normal(torch.zeros_like(loc), 1.0), infer={"is_auxiliary": True})
    pyro.factor("jacobian", -scale.log().expand(ROWS), has_rsample=True)
    pyro.sample("z0", dist.Delta(loc + scale * u))


def uniform(scale: Tensor, loc: Tensor) -> None:
    pyro.sample("z0", dist.Uniform(loc - scale, loc + scale))


@pytest.mark.parametrize("program", [jacobian, factor, uniform])
def test_where_the_expected_score_is_not_zero_the_density_is_left_whole(
    program: Callable[[Tensor, Tensor], None],
) -> None:
    chain, x = Chain(1).moved(), rows()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            program(chain.log_s[0].exp(), x @ chain.V[0] + chain.a[0])

    weights = [chain.V, chain.a, chain.log_s]
    ours_, pyros = (
        gradient(loss_of(e, chain.model, guide, x, 0), weights) for e in (ours(), theirs())
    )
    torch.testing.assert_close(ours_, pyros)


def test_pyros_automatic_guides_work() -> None:
    """A joint normal over all latents, set to the exact posterior."""
    w, b = torch.tensor([1.0, -0.5, 0.7, 0.2], dtype=torch.float64), 0.3

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(1, dtype=torch.float64), 1.0).to_event(1))
        s = pyro.sample("s", dist.Normal(z, 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(w * s + b, math.sqrt(VARIANCE)).to_event(1), obs=x)

    x = rows()
    prior = torch.tensor([[1.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    precision = torch.linalg.inv(prior)
    precision[1, 1] += len(x) * w @ w / VARIANCE
    covariance = torch.linalg.inv(precision)
    loc = covariance @ torch.stack([torch.zeros(()).double(), ((x - b) @ w).sum() / VARIANCE])
    with pyro.settings.context(module_local_params=True):
        guide = AutoMultivariateNormal(model)
        guide(x)
        guide.double()
        cholesky = torch.linalg.cholesky(covariance)
        guide.loc = nn.Parameter(loc)
        guide.scale = cholesky.diagonal()
        guide.scale_tril = cholesky / cholesky.diagonal()[:, None]
        weights = list(guide.parameters())
        for seed in range(3):
            slope = gradient(loss_of(ours(), model, guide, x, seed), weights)
            assert float(slope.abs().max()) < NOTHING
            assert float(gradient(loss_of(theirs(), model, guide, x, seed), weights).norm()) > 0.1


def test_guides_that_draw_inside_the_model_work() -> None:
    chain, x = Chain(2), rows()
    with pyro.settings.context(module_local_params=True):
        guide = AutoNormalMessenger(chain.model)
        guide(x)
        weights = list(guide.parameters())
        loss, whole = (loss_of(e, chain.model, guide, x, 3) for e in (ours(), theirs()))
        torch.testing.assert_close(loss, whole)

        def apart() -> Tensor:
            seed = int(torch.randint(10**6, ()))
            one, other = (
                gradient(loss_of(e, chain.model, guide, x, seed), weights)
                for e in (ours(), theirs())
            )
            torch.manual_seed(seed + 1)
            return one - other

        got = sample(apart, 40)
        assert got.holds(torch.zeros_like(got.mean))
        assert float(got.error.max()) > 0.01


def test_a_point_mass_is_left_whole() -> None:
    chain, x = Chain(1), rows()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z0", dist.Delta(x @ chain.V[0] + chain.a[0]))

    ours_, pyros = (
        gradient(loss_of(e, chain.model, guide, x, 0), [chain.V, chain.a])
        for e in (ours(), theirs())
    )
    torch.testing.assert_close(ours_, pyros)


@both_ways
def test_what_has_no_path_is_refused_in_a_sentence(vectorize: bool) -> None:
    cases = [
        (discrete, discrete_guide, ["'z'", "Bernoulli", "no reparameterized draw"]),
        (*planar_pair(), ["'z'", "TransformedDistribution", "has no inverse"]),
    ]
    for model, guide, words in cases:
        elbo = ours(2, vectorize, max_plate_nesting=1)
        for call in (elbo.loss_and_grads, elbo.differentiable_loss):
            with pytest.raises(InputError) as refusal:
                call(model, guide, rows())
            sentence = str(refusal.value)
            assert all(word in sentence for word in [*words, "take Trace_ELBO"]), sentence
            assert "\n" not in sentence
