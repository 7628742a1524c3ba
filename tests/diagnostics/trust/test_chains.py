"""Laws of Markov chains on p(z | x), compared with the exact posterior of PCA."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import Mock

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.compilation.graphs import NotStatic, trace
from ppvae.diagnostics.subject import subject
from ppvae.diagnostics.trust.chains import Chains, posterior_chains
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from tests.support.pca import PCA, pca
from tests.support.slow import few

SIGMAS = 5.0

brief = partial(posterior_chains, draws=4, warmup=2)


@pytest.fixture(scope="module")
def known() -> PCA:
    """An oblique posterior, and a guide of half the best mean-field scales."""
    return pca(rows=2, rotated=True, widen=0.5)


@pytest.fixture(scope="module")
def found(known: PCA) -> Chains:
    return posterior_chains(known.pair, known.facts, {"x": known.x}, draws=120, warmup=50)


def covariance(known: PCA) -> Tensor:
    inverse: Tensor = torch.linalg.inv(known.precision)
    return inverse


def programs(model: Program, guide: Program, x: Tensor) -> tuple[Pair, Audit, dict[str, Tensor]]:
    pair, facts, _ = subject(model, guide, x, elbo=Trace_ELBO)
    return pair, facts, {"x": x[:1]}


@pytest.mark.slow
def test_draws_of_a_graph_that_went_wrong_are_taken_again(
    known: PCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph does not change the chains, and each transition is counted once."""
    calls: list[int] = []

    def wrong(function: Any, tensors: Any) -> Any:
        graph = trace(function, tensors)

        def forward(*tensors: Tensor) -> Any:
            calls.append(1)
            value, slope = graph(*tensors)
            return (value, slope) if len(calls) < 40 else (value, 2 * slope)

        return Mock(side_effect=forward, graph=graph.graph)

    def none(*_: Any) -> Any:
        raise NotStatic("no graph")

    def chains(make: Callable[..., Any]) -> tuple[Tensor, int]:
        monkeypatch.setattr("ppvae.compilation.gradient.trace", make)
        made: list[int] = []
        found = posterior_chains(
            known.pair, known.facts, {"x": known.x[:1]}, draws=20, warmup=10,
            on_draw=lambda: made.append(1),
        )  # fmt: skip
        return found.draws, len(made)

    draws, made = chains(wrong)
    assert len(calls) == 64  # a comparison found it, and the graph is not called again
    assert made == 60
    assert torch.equal(draws, chains(none)[0])


@pytest.mark.slow
def test_the_chains_meet_the_posterior(known: PCA, found: Chains) -> None:
    assert found.sites == (("z", 0), ("z", 1))
    assert tuple(found.draws.shape) == (2, 2, 120, 2)
    assert float(found.rhat.max()) < 1.05
    assert float(found.ess.min()) > 40
    assert int(found.divergences.sum()) == 0
    assert tuple(found.divergences.shape) == (2, 2)
    truth = covariance(known)
    off = (found.loc - known.posterior_loc).abs()
    assert bool((off < SIGMAS * found.loc_error).all())
    scale = truth.diagonal().sqrt()
    assert bool(((found.scale - scale).abs() < SIGMAS * found.scale_error).all())
    assert bool((found.loc_error < 0.2 * scale).all())
    # Over all four their relative error is some 5 %: half the log-density would give 1.4 times.
    assert abs(float((found.scale / scale).mean()) - 1) < 0.25
    # Correlation, which no mean-field guide has; its error is (1 - r^2) / sqrt(ESS).
    r = float(truth[0, 1] / scale.prod())
    assert abs(r) > 0.3
    for datum in range(2):
        drawn = found.draws[datum].flatten(0, 1)
        correlation = float(drawn.T.corrcoef()[0, 1])
        error = (1 - r**2) / math.sqrt(float(found.ess[datum].min()))
        assert abs(correlation - r) < SIGMAS * error


@pytest.mark.slow
def test_the_log_joint_is_that_of_the_draws(known: PCA, found: Chains) -> None:
    z = found.draws
    mean = z @ known.w.T + known.b
    normal = torch.distributions.Normal
    log_joint = normal(0.0, 1.0).log_prob(z).sum(-1)
    x = known.x[:, None, None]
    log_joint = log_joint + normal(mean, known.variance**0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(found.log_joint, log_joint)


@pytest.mark.slow
def test_a_guide_of_half_the_scale_is_told_from_the_exact_one(known: PCA, found: Chains) -> None:
    # A closed family's moments come without noise.
    torch.testing.assert_close(found.guide_loc, known.posterior_loc)
    scale = 0.5 / known.precision.diagonal().sqrt()
    torch.testing.assert_close(found.guide_scale, scale.expand(2, 2))
    assert float(found.guide_loc_error.max()) < 1e-9
    assert float(found.guide_scale_error.max()) < 1e-9
    narrow = found.against_guide()
    assert bool(narrow.differs().all())
    assert bool((narrow.shift < SIGMAS * narrow.shift_error).all())
    marginal = covariance(known).diagonal().sqrt()
    ratio = scale / marginal
    assert bool(((narrow.ratio - ratio).abs() < SIGMAS * narrow.ratio_error).all())
    assert float(narrow.ratio_error.max()) < 0.08
    exact = replace(
        found, guide_loc=known.posterior_loc, guide_scale=marginal.expand(2, 2)
    ).against_guide()
    assert not exact.differs(SIGMAS).any()
    moved = replace(found, guide_loc=known.posterior_loc + marginal).against_guide()
    assert bool(((moved.shift - 1).abs() < SIGMAS * moved.shift_error).all())
    assert bool(moved.differs().all())


@pytest.mark.slow
def test_errors_of_the_guides_moments_enter_the_comparison(found: Chains) -> None:
    zero, one = torch.zeros_like(found.loc), torch.ones_like(found.loc)
    plain = replace(
        found, loc=zero, loc_error=0.3 * one, scale=2 * one, scale_error=zero,
        guide_loc=one, guide_loc_error=0.4 * one, guide_scale=one, guide_scale_error=0.2 * one,
    )  # fmt: skip
    compared = plain.against_guide()
    torch.testing.assert_close(compared.shift, 0.5 * one)
    torch.testing.assert_close(compared.shift_error, 0.25 * one)  # (0.3^2 + 0.4^2)^(1/2) / 2
    torch.testing.assert_close(compared.ratio, 0.5 * one)
    torch.testing.assert_close(compared.ratio_error, 0.1 * one)
    unsure = replace(plain, loc_error=zero, guide_loc_error=zero, scale_error=0.2 * one)
    torch.testing.assert_close(unsure.against_guide().shift_error, 0.05 * one)


def rates(x: Tensor, network: nn.Linear) -> tuple[Program, Program]:
    """Waiting times with an unknown positive rate, and a guide without closed-form moments."""

    def model(x: Tensor) -> None:
        with pyro.plate("machines", len(x)):
            rate = pyro.sample("rate", dist.Gamma(1.0, 2.0))
            waits = dist.Exponential(rate[..., None].expand(*rate.shape, x.shape[1]))
            pyro.sample("waits", waits.to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("machines", len(x)):
            base = dist.Normal(network(x)[..., 0], 0.3)
            pyro.sample(
                "rate", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()])
            )

    return model, guide


@pytest.mark.slow
def test_a_positive_latent_is_drawn_in_its_own_space() -> None:
    """A Gamma(a, b) prior of a rate and n exponential waits x: Gamma(a + n, b + sum x)."""
    x = torch.full((3, 1), 0.7)
    network = nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.zero_(), network.bias.fill_(0.2)
    pair, facts, row = programs(*rates(x, network), x)
    found = posterior_chains(pair, facts, row, draws=140, warmup=40)
    a, b = 1.0 + 1, 2.0 + 0.7
    assert bool((found.draws > 0).all())
    assert float(found.rhat) < 1.05
    assert abs(float(found.loc) - a / b) < SIGMAS * float(found.loc_error)
    assert abs(float(found.scale) - math.sqrt(a) / b) < SIGMAS * float(found.scale_error)
    # Without the change of volume the chain would have the mean of Gamma(a - 1, b), half as large.
    assert float(found.loc_error) < 0.09 * a / b
    # The guide, a log-normal distribution, by draws: mean e^(m + s^2 / 2).
    mean = math.exp(0.2 + 0.3**2 / 2)
    scale = mean * math.sqrt(math.expm1(0.3**2))
    assert 0 < float(found.guide_loc_error) < 0.02 * mean
    assert abs(float(found.guide_loc) - mean) < SIGMAS * float(found.guide_loc_error)
    assert 0 < float(found.guide_scale_error) < 0.1 * scale
    assert abs(float(found.guide_scale) - scale) < SIGMAS * float(found.guide_scale_error)


def two_latents(network: nn.Linear) -> tuple[Program, Program]:
    def model(x: Tensor) -> None:
        with pyro.plate("people", len(x)):
            a = pyro.sample("level", dist.Normal(0.0, 1.0))
            b = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            mean = (a + b.sum(-1))[..., None]
            pyro.sample("height", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("people", len(x)):
            a = pyro.sample("level", dist.Normal(network(x)[..., 0], 1.0))
            b = torch.stack([2 * a, -a], dim=-1)
            pyro.sample("slopes", dist.Normal(b, 0.5).to_event(1))

    return model, guide


@pytest.mark.parametrize("vectorizes", few([True, False], 2))
def test_latents_stand_side_by_side_in_any_kind_of_program(vectorizes: bool) -> None:
    network = nn.Linear(1, 1)
    pair, facts, row = programs(*two_latents(network), torch.randn(4, 1))
    facts = Audit(**{**facts.__dict__, "vectorizes": vectorizes})
    found = brief(pair, facts, row)
    assert found.sites == (("level", 0), ("slopes", 0), ("slopes", 1))
    a, b = found.draws[..., :1], found.draws[..., 1:]
    normal = torch.distributions.Normal
    x = row["x"].double()
    log_joint = normal(0.0, 1.0).log_prob(found.draws).sum(-1)
    log_joint = log_joint + normal(a + b.sum(-1, keepdim=True), 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(found.log_joint, log_joint, atol=1e-5, rtol=1e-5)
    # The slopes' moments are over their parent's draws: Var(2 a + noise) = 4 + 1/4.
    level = float(network(row["x"]).detach())
    loc = torch.tensor([[level, 2 * level, -level]], dtype=torch.float64)
    scale = torch.tensor([[1.0, 4.25, 1.25]], dtype=torch.float64).sqrt()
    torch.testing.assert_close(found.guide_loc[:, 0], loc[:, 0], atol=1e-6, rtol=1e-6)
    assert float(found.guide_loc_error[0, 0]) < 1e-6
    for value, truth, error in (
        (found.guide_loc, loc, found.guide_loc_error),
        (found.guide_scale, scale, found.guide_scale_error),
    ):
        assert bool(((value - truth)[:, 1:].abs() < SIGMAS * error[:, 1:]).all())
        assert bool((error[:, 1:] > 0.01).all())
        assert bool((error[:, 1:] < 0.1).all())


@pytest.mark.slow
def test_a_point_mass_has_no_scale_and_chains_all_the_same() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    pair, facts, row = programs(
        VAE(StandardNormal(2), Gaussian((4,), variance=1.0)), Delta(2, (4,)), x
    )
    found = brief(pair, facts, row)
    assert bool(found.guide_scale.eq(0).all())
    assert bool(found.guide_scale_error.eq(0).all())
    assert bool(found.against_guide().ratio.eq(0).all())


@pytest.mark.slow
def test_the_answer_is_a_function_of_the_seed_and_moves_nothing() -> None:
    known = pca(rows=2)
    pyro.clear_param_store()
    pyro.get_param_store()["elsewhere"] = torch.ones(1)
    try:
        state, store = torch.get_rng_state(), dict(pyro.get_param_store().items())
        weights = [p.clone() for p in known.pair.parameters()]
        calls: list[None] = []

        def ask(seed: int) -> Chains:
            return brief(
                known.pair,
                known.facts,
                {"x": known.x},
                seed=seed,
                on_draw=lambda: calls.append(None),
            )

        one = ask(0)
        assert len(calls) == 2 * 2 * (4 + 2)
        assert torch.equal(state, torch.get_rng_state())
        assert known.pair.training
        assert all(p.grad is None and p.requires_grad for p in known.pair.parameters())
        assert all(map(torch.equal, weights, known.pair.parameters()))
        assert dict(pyro.get_param_store().items()) == store
        torch.rand(3)
        assert torch.equal(ask(0).draws, one.draws)
        assert not torch.equal(ask(1).draws, one.draws)
        assert not torch.equal(one.draws[0, 0], one.draws[0, 1])
    finally:
        pyro.clear_param_store()


def test_numbers_that_are_too_small_are_refused() -> None:
    known = pca(rows=2)
    ask: Any = posterior_chains
    for name, value, least in (
        ("chains", 1, 2),
        ("draws", 3, 4),
        ("warmup", 0, 1),
        ("max_tree_depth", 0, 1),
    ):
        with pytest.raises(InputError, match=f"{name} is {value}; it must be at least {least}"):
            ask(known.pair, known.facts, {"x": known.x}, **{name: value})
    with pytest.raises(InputError, match="number of data is 0"):
        posterior_chains(known.pair, known.facts, {"x": known.x[:0]})


def test_latents_without_a_posterior_per_datum_or_a_gradient_are_refused() -> None:
    known = pca(rows=2)
    shared = Audit(**{**known.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        posterior_chains(known.pair, shared, {"x": known.x})
    network = nn.Linear(1, 1)
    x = torch.randn(3, 1)

    def fails(prior: str, message: str) -> None:
        families: dict[str, Callable[[Tensor], Any]] = {
            "coin": lambda a: dist.Bernoulli(logits=a),
            "nested": lambda a: dist.Uniform(torch.zeros_like(a), a.exp()),
        }

        def program(x: Tensor, is_model: bool) -> None:
            h = torch.zeros(len(x)) if is_model else network(x)[..., 0]
            with pyro.plate("data", len(x)):
                a = pyro.sample("a", dist.Normal(h, 1.0))
                b = pyro.sample("b", families[prior](a))
                if is_model:
                    mean = (a + b)[..., None]
                    pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

        def model(x: Tensor) -> None:
            program(x, True)

        def guide(x: Tensor) -> None:
            pyro.module("network", network)
            program(x, False)

        with pytest.raises(InputError, match=message):
            brief(*programs(model, guide, x))

    fails("coin", "site 'b' is discrete")
    fails("nested", "the support of site 'b' depends on other latents")


class Unstated(dist.Normal):
    """A family without a support, like flows."""

    @property
    def support(self) -> Any:  # type: ignore[override]  # torch has an attribute there
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Unstated":
        return Unstated(self.loc.expand(batch_shape), self.scale.expand(batch_shape))


@pytest.mark.parametrize("family", [dist.Normal, Unstated])
def test_a_prior_that_states_no_support_has_the_guides(family: Any) -> None:
    network = nn.Linear(1, 1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", Unstated(torch.zeros(()), torch.ones(())))
            pyro.sample("x", dist.Normal(z[..., None], 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            pyro.sample("z", family(network(x)[..., 0], torch.ones(())))

    # Validation needs the support, which this distribution does not state.
    with pyro.validation_enabled(False):
        asked = programs(model, guide, torch.zeros(3, 1))
        if family is Unstated:
            with pytest.raises(InputError, match=r"site 'z': neither .* states its support"):
                brief(*asked)
        else:
            assert tuple(brief(*asked).draws.shape) == (1, 2, 4, 1)


def test_a_datum_that_the_model_cannot_score_is_refused() -> None:
    known = pca(rows=2)
    x = known.x.clone()
    x[1] = math.nan
    with pytest.raises(InputError, match=r"log p\(x, z\) of datum 1 is not finite at any of"):
        brief(known.pair, known.facts, {"x": x})
