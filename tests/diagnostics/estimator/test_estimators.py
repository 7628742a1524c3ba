"""Laws of the comparison of estimators: known variances, and no claims by noise."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.diagnostics.estimator import estimators, recommendation
from ppvae.diagnostics.estimator.estimators import ESTIMATORS, Estimators, compare_estimators
from ppvae.diagnostics.estimator.figure import draw_estimators
from ppvae.diagnostics.estimator.noise import noise
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE, PCA, pca

SIGMAS = 4.0
NAMES = ("Trace_ELBO", "TraceMeanField_ELBO", "StickingTheLandingELBO", "ImportanceWeightedELBO")
TRACE, ANALYTIC, PATH, WEIGHTED = NAMES

Cost = Callable[[str, int], float]


def timed(patch: pytest.MonkeyPatch, cost: Cost) -> None:
    """Computed times instead of measured ones."""

    def times(pair: Pair, bounds: Mapping[tuple[str, int], Bound], *_: Any) -> Any:
        return {key: [cost(*key)] * 5 for key in bounds}

    patch.setattr(estimators, "gradient_times", times)


def compared(p: PCA, cost: Cost = lambda name, k: 1.0, **kwargs: Any) -> Estimators:
    with pytest.MonkeyPatch.context() as patch:
        timed(patch, cost)
        return compare_estimators(p.pair, p.facts, {"x": p.x}, **kwargs)


@pytest.fixture(scope="module")
def exact() -> tuple[PCA, Estimators]:
    p = pca()
    return p, compared(p, particles=(5,), draws=20)


@pytest.fixture(scope="module")
def away() -> tuple[PCA, Estimators]:
    p = pca(rotated=True, shift=0.3, widen=1.3)
    return p, compared(p, draws=40)


def test_at_the_exact_posterior_it_recommends_sticking_the_landing(
    exact: tuple[PCA, Estimators],
) -> None:
    p, found = exact
    assert found.best.name == PATH
    assert found.recommendation.startswith(f"take {PATH}: with one particle")
    assert found.guide == ("guide.encoder",)
    for k in (1, 5):
        assert found.row(PATH, k).variance["guide.encoder"] < 1e-20
        for name in (TRACE, ANALYTIC, WEIGHTED):
            assert found.row(name, k).variance["guide.encoder"] > 0.1
        for name in (TRACE, PATH, WEIGHTED):
            assert found.row(name, k).value == pytest.approx(float(p.log_p.mean()), rel=1e-9)
    # Half of the relative variance is that of the decoder, which is the same for both.
    row = found.row(PATH)
    assert abs(row.relative_variance - 0.5) < SIGMAS * math.hypot(row.relative_variance_error, 0.04)
    assert found.row(TRACE).relative_variance == pytest.approx(1.0)
    # If every weight is p(x), no bound is tighter.
    assert f"{WEIGHTED} with 5 particles is another bound, of the same value" in (
        found.recommendation
    )


@pytest.mark.slow
def test_elsewhere_the_figures_are_those_of_repeated_estimates(
    away: tuple[PCA, Estimators],
) -> None:
    p, found = away
    elbos = {elbo.__name__: elbo for elbo in ESTIMATORS}
    assert [(row.name, row.particles) for row in found.rows] == [
        (name, k) for name in NAMES for k in (1, 5, 20)
    ]
    assert not found.refused
    for name, k in ((TRACE, 1), (PATH, 1), (ANALYTIC, 5), (WEIGHTED, 20)):
        facts = audit(p.pair, elbos[name], {"x": p.x})
        alone = noise(Bound(p.pair, elbos[name], facts, k), {"x": p.x}, draws=40, seed=77)
        row = found.row(name, k)
        apart = math.hypot(alone.standard_error, row.value_error)
        assert abs(alone.mean - row.value) < SIGMAS * apart
        for group, other in alone.groups.items():
            apart = math.hypot(other.variance_error, row.variance_error[group])
            assert abs(other.variance - row.variance[group]) < SIGMAS * apart
        assert row.variance_error["guide.encoder"] < 0.35 * row.variance["guide.encoder"]
    elbo = float((p.log_p - p.kl(*guide_of(p))).mean())
    for name in (TRACE, ANALYTIC, PATH):
        row = found.row(name, 20)
        assert abs(row.value - elbo) < SIGMAS * row.value_error
        assert row.value_error < 0.03


def guide_of(p: PCA) -> tuple[Tensor, Tensor]:
    guide: Any = p.pair.guide
    loc, raw = guide.encoder(p.x).detach().unbind(-2)
    return loc, posterior_scale(raw)


@pytest.mark.slow
def test_the_variance_falls_as_one_over_particles(away: tuple[PCA, Estimators]) -> None:
    _, found = away
    for name in (TRACE, PATH):
        one = found.row(name)
        for k in (5, 20):
            many = found.row(name, k)
            for group in one.variance:
                a, b = one.variance[group], many.variance[group]
                error = math.hypot(one.variance_error[group] / a, many.variance_error[group] / b)
                assert abs(math.log(a / (k * b))) < SIGMAS * error
                assert SIGMAS * error < math.log(k)


@pytest.mark.slow
def test_the_weighted_bound_rises_and_the_guides_signal_falls(
    away: tuple[PCA, Estimators],
) -> None:
    p, found = away
    rows = [found.row(WEIGHTED, k) for k in (1, 5, 20)]
    for low, high in pairwise(rows):
        error = math.hypot(low.value_error, high.value_error)
        assert high.value - low.value > SIGMAS * error
    assert rows[-1].value < float(p.log_p.mean()) + SIGMAS * rows[-1].value_error
    gain = rows[-1].value - found.row(TRACE, 20).value
    assert f"is another bound, {gain:.3g} +-" in found.recommendation
    assert "the guide's signal-to-noise ratio falls from" in found.recommendation
    assert found.best.name != WEIGHTED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cost", "particles", "words"),
    [
        (lambda name, k: 1.0, 20, "20 particles pay, with "),
        (lambda name, k: float(k), 1, "more particles make no significant difference"),
        (lambda name, k: float(k) ** 2, 1, "more particles do not pay: 20 have "),
    ],
)
def test_more_particles_pay_where_their_time_rises_slower_than_their_number(
    cost: Cost, particles: int, words: str
) -> None:
    found = compared(pca(shift=0.3, widen=1.3, rows=10), cost, particles=(1, 20), draws=20)
    assert found.best.particles == particles
    assert words in found.recommendation


def test_a_dearer_estimator_needs_to_save_more_than_its_time(
    exact: tuple[PCA, Estimators],
) -> None:
    p, _ = exact
    found = compared(p, lambda name, k: 3.0 if name == PATH else 1.0, particles=(), draws=20)
    assert found.best.name != PATH
    assert found.best.particles == 1
    assert "particles" not in found.recommendation.replace("one particle", "")
    assert found.row(PATH).relative_cost == 3


class Twin(Trace_ELBO):
    """The same estimator by another name."""


def test_noise_makes_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "ESTIMATORS", (Trace_ELBO, Twin))
    p = pca(rows=5, shift=0.3)
    for seed in range(8):
        found = compared(p, particles=(), draws=8, seed=seed)
        assert found.best.name == TRACE
        assert "Twin has" in found.recommendation
        assert "(a tie)" in found.recommendation
    # Without errors, the last of these would make a claim.
    monkeypatch.setattr(recommendation, "errors_beyond_noise", lambda freedom: 0.0)
    assert "(a tie)" not in compared(p, particles=(), draws=8, seed=seed).recommendation


@pytest.mark.slow
def test_nothing_moves_and_noise_is_a_function_of_the_seed() -> None:
    p = pca(rows=10, shift=0.3)
    before = {name: value.clone() for name, value in p.pair.state_dict().items()}
    state, told = torch.get_rng_state(), 0

    def tell(draws: int) -> None:
        nonlocal told
        told += draws

    batch = {"x": p.x}
    one = compare_estimators(
        p.pair, p.facts, batch, particles=(2,), draws=4, rounds=3, on_draw=tell
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert p.pair.training
    assert all(parameter.grad is None for parameter in p.pair.parameters())
    assert all(torch.equal(before[name], value) for name, value in p.pair.state_dict().items())
    assert told == 4 * len(ESTIMATORS) * 2
    torch.rand(7)
    two, other = (
        compare_estimators(p.pair, p.facts, batch, particles=(1, 2), draws=4, rounds=3, seed=seed)
        for seed in (0, 1)
    )
    for a, b, c in zip(one.rows, two.rows, other.rows, strict=True):
        assert (a.value, a.variance, a.snr) == (b.value, b.variance, b.snr)
        assert a.variance != c.variance
        assert a.ms > 0
        assert a.relative_cost > 0
        assert math.isfinite(a.relative_cost_error)
    assert one.row(TRACE).relative_cost == 1
    assert one.row(TRACE).relative_cost_error == 0
    assert one.draws == 4
    assert draw_estimators([asdict(row) for row in one.rows]).axes


class Programs(nn.Module):
    """Two latents of other names, the second drawn given the first, and x seen column by column."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)
        self.calls: list[int] = []

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("items", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            loc = self.decoder(torch.stack([a, b], -1))
            pyro.sample("obs", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        self.calls.append(len(x))
        pyro.module("encoder", self.encoder)
        weight = pyro.param("weight", torch.tensor(0.5))
        with pyro.plate("items", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(self.encoder(x)[..., 0], 0.7))
            pyro.sample("b", dist.Normal(self.encoder(x)[..., 1] + weight * a, 0.7))


@pytest.fixture
def x() -> dict[str, Tensor]:
    return {"x": torch.randn(6, 3, generator=torch.Generator().manual_seed(2))}


@pytest.mark.slow
def test_any_pair_of_programs(x: dict[str, Tensor]) -> None:
    programs = Programs()
    pair = Pair(programs.model, programs.guide, x)
    facts = audit(pair, Trace_ELBO, x)
    assert facts.vectorizes
    looped = Audit(**{**facts.__dict__, "vectorizes": False})
    calls = []
    for known in (facts, looped):
        programs.calls.clear()
        found = compare_estimators(pair, known, x, particles=(3,), draws=8, rounds=3)
        assert not found.refused
        assert {row.name for row in found.rows} == set(NAMES)
        groups = set(found.rows[0].variance)
        assert set(found.guide) == {g for g in groups if "decoder" not in g}
        assert any("weight" in group for group in found.guide)
        values = [found.row(name, 3) for name in (TRACE, PATH, ANALYTIC)]
        for row in values[1:]:
            apart = math.hypot(row.value_error, values[0].value_error)
            assert abs(row.value - values[0].value) < 6 * apart
        calls.append(len(programs.calls))
    # 12 estimates each with 1 and with 3 particles; a loop takes 3 calls per estimate for 3.
    assert calls[1] - calls[0] == len(NAMES) * 12 * 2


def with_guide(
    x: dict[str, Tensor], latent: Callable[[Tensor], Any], prior: Any, *, shared: bool = False
) -> Estimators:
    network = nn.Linear(3, 1)

    def model(x: Tensor) -> None:
        if shared:
            pyro.sample("tau", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z[..., None], 1.0).expand_by([1]).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        if shared:
            pyro.sample("tau", dist.Normal(network.bias[0], 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", latent(network(x)[..., 0]))

    pair = Pair(model, guide, x)
    return compare_estimators(pair, audit(pair, Trace_ELBO, x), x, particles=(), draws=6, rounds=3)


def test_without_a_reparameterized_draw_there_is_trace_elbo_alone(x: dict[str, Tensor]) -> None:
    found = with_guide(x, lambda h: dist.Bernoulli(logits=h), dist.Bernoulli(torch.tensor(0.5)))
    assert {row.name for row in found.rows} == {TRACE}
    assert set(found.refused) == {ANALYTIC, PATH, WEIGHTED}
    for reason in found.refused.values():
        assert "'z'" in reason
        assert "no reparameterized draw" in reason
    assert found.best.name == TRACE
    assert found.recommendation == (
        "take Trace_ELBO, the only estimator of the ELBO that this pair allows."
    )
    with pytest.raises(InputError, match=r"no row of StickingTheLandingELBO.*reparameterized"):
        found.row(PATH)


def test_latents_that_all_data_share_have_no_weighted_bound(x: dict[str, Tensor]) -> None:
    prior = dist.Normal(torch.tensor(0.0), 1.0)
    found = with_guide(x, lambda h: dist.Normal(h, 1.0), prior, shared=True)
    assert set(found.refused) == {WEIGHTED}
    assert "'tau'" in found.refused[WEIGHTED]
    assert WEIGHTED not in found.recommendation


def test_without_a_closed_form_the_analytic_kl_is_trace_elbo(x: dict[str, Tensor]) -> None:
    prior = dist.Normal(torch.tensor(0.0), 1.0)
    found = with_guide(x, lambda h: dist.StudentT(5.0, h, 1.0), prior)
    assert found.refused == {
        ANALYTIC: "no KL of this pair has a closed form: this estimator equals Trace_ELBO"
    }
    assert {row.name for row in found.rows} == {TRACE, PATH, WEIGHTED}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"particles": (0, 5)}, "particles is 0"),
        ({"draws": 3}, "draws is 3; it must be at least 4"),
        ({"rounds": 2}, "rounds is 2"),
    ],
)
def test_numbers_that_are_too_small_are_refused(change: dict[str, Any], words: str) -> None:
    p = pca(rows=4)
    with pytest.raises(InputError, match=words):
        compare_estimators(p.pair, p.facts, {"x": p.x}, **change)


def test_a_point_mass_has_no_bound_to_estimate(x: dict[str, Tensor]) -> None:
    pair = Pair(
        VAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE), Delta(2, (3,), AFFINE), x
    )
    with pytest.raises(InputError, match="the guide has a point mass"):
        compare_estimators(pair, audit(pair, TraceMeanField_ELBO, x), x)


def test_weights_that_have_no_finite_bound_are_refused() -> None:
    p = pca(rows=4)
    with torch.no_grad():
        for parameter in p.pair.model.parameters():
            parameter.mul_(1e200)
    with pytest.raises(InputError, match="not finite at these weights"):
        compare_estimators(p.pair, p.facts, {"x": p.x}, draws=4)
