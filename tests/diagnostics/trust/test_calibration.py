"""Laws of calibration: ranks are uniform under the exact posterior, and show deviations."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.data import as_split
from ppvae.diagnostics.trust import ranks
from ppvae.diagnostics.trust.calibration import Calibration, calibrate
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.programs import Pair
from ppvae.programs.densities import Densities, Draws
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE, PCA, pca

SIGMAS = 5.0

Batch = dict[str, Tensor]


def of(known: PCA, **settings: Any) -> Calibration:
    return calibrate(known.pair, known.facts, known.rows, **settings)


def audited(model: Callable[..., Any], guide: Callable[..., Any], batch: Batch) -> tuple[Any, ...]:
    pair = Pair(model, guide, batch)
    return pair, audit(pair, Trace_ELBO, batch)


def test_the_exact_posterior_is_calibrated() -> None:
    known = pca()
    found = [of(known, simulations=200, seed=seed) for seed in range(20)]
    # The test of uniformity rejects 6 % at level 5 %; with Bonferroni at most that.
    assert sum(not each.is_calibrated for each in found) <= 4
    below = torch.stack([each.p_values for each in found]) < 0.05
    assert int(below.sum(0).max()) <= 5
    pit = torch.cat([each.pit for each in found])
    together = Calibration(found[0].names, found[0].sites, pit, found[0].p_values, 99, 0.05)
    assert bool((together.location.abs() < SIGMAS).all())
    assert bool((together.spread.abs() < SIGMAS).all())
    # Their spread is as stated: 80 squares, with a standard error of 0.16.
    for moments in ([each.location for each in found], [each.spread for each in found]):
        assert 0.6 < float(torch.stack(moments).square().mean()) < 1.5


@pytest.mark.parametrize(
    ("settings", "marginal", "log_p", "log_q"),
    [
        ({"widen": 0.5}, "too narrow", "too high", "too high"),
        ({"widen": 2.0}, "too wide", "too low", "too low"),
        ({"shift": 0.3}, "shifted", "too low", "too high"),
        ({"shift": -0.3}, "shifted", "too low", "too high"),
        ({"widen": 0.5, "shift": 0.15}, "shifted, too narrow", "too high", "too high"),
    ],
)
def test_a_guide_that_is_off_is_named_as_what_it_is(
    settings: dict[str, Any], marginal: str, log_p: str, log_q: str
) -> None:
    found = of(pca(**settings))
    assert found.p_value < 1e-6
    assert not found.is_calibrated
    assert found.shapes == (marginal, marginal, log_p, log_q)
    assert f"z[0], z[1] {marginal}" in found.verdict
    # A guide that lies too high has the simulated values below its draws.
    if "shift" in settings:
        assert bool((found.location[:2] * settings["shift"] < 0).all())


def test_the_best_factorized_guide_of_a_correlated_posterior_is_too_narrow() -> None:
    # Fitted by the ELBO: variances 1 / M_jj in place of (1 / M)_jj, and log p(x, z) as it should be
    # on average.
    found = of(pca(rotated=True))
    assert found.shapes[:2] == ("too narrow", "too narrow")
    assert abs(float(found.location[2])) < SIGMAS
    assert found.shapes[3] == "too high"


@pytest.mark.parametrize(("widen", "draws"), [(0.5, 4), (0.5, 99), (2.0, 9)])
def test_ranks_scatter_as_they_must(widen: float, draws: int) -> None:
    from scipy import integrate, stats

    # Under q a simulated z has probability u = Phi(e / widen) below it, with e ~ N(0, 1); of L
    # draws, Binomial(L, u) are below; and Uniform(0, 1) is added.
    square, _ = integrate.quad(
        lambda e: stats.norm.pdf(e) * stats.norm.cdf(e / widen) ** 2, -10.0, 10.0
    )
    variance = draws**2 * (square - 1 / 4) + draws * (1 / 2 - square) + 1 / 12
    variance /= (draws + 1) ** 2
    pit = of(pca(widen=widen), simulations=4000, draws=draws).pit[:, :2]
    deviation = (pit - 0.5).square()
    error = deviation.std(0) / math.sqrt(4000)
    assert bool(((deviation.mean(0) - variance).abs() < SIGMAS * error).all())
    # Tight enough to tell the two apart: a uniform rank has 1 / 12.
    assert bool(((1 / 12 - variance) / error).abs().min() > 2 * SIGMAS)


def test_the_prior_as_a_guide_is_given_away_by_the_joint_density_alone() -> None:
    known = pca()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = torch.zeros(len(x), 2, dtype=torch.float64)
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    pair, facts = audited(known.pair.model, guide, {"x": known.x})
    found = calibrate(pair, facts, known.rows)
    assert found.shapes == ("uniform", "uniform", "too low", "uniform")
    assert float(found.adjusted[2]) < 1e-6
    assert float(found.adjusted[[0, 1, 3]].min()) > 0.05


def coin_and_heights(narrow: float = 1.0) -> tuple[Pair, Audit, Tensor]:
    """A coin observed in the first column, two heights in the others: the posterior factorizes.

    Coin c ~ Bernoulli(0.3), x_0 ~ N(2 c, 1); heights h ~ N(0, I), x_1:3 ~ N(h, I).
    """

    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            coin = pyro.sample("coin", dist.Bernoulli(torch.tensor(0.3)))
            heights = pyro.sample("heights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            coin, heights = torch.broadcast_tensors(coin[..., None], heights)
            loc = torch.cat([2 * coin[..., :1], heights], dim=-1)
            pyro.sample("seen", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        half = pyro.param("gain", torch.tensor(0.5))
        odds = math.log(0.3 / 0.7) + 2 * x[..., 0] - 2
        with pyro.plate("rows", len(x)):
            pyro.sample("coin", dist.Bernoulli(logits=odds))
            scale = narrow * half.sqrt()
            pyro.sample("heights", dist.Normal(half * x[..., 1:], scale).to_event(1))

    x = torch.zeros(30, 3)
    return *audited(model, guide, {"x": x}), x


@pytest.mark.parametrize("vectorizes", [True, False])
def test_other_programs_and_ties_are_ranked_alike(vectorizes: bool) -> None:
    pair, facts, x = coin_and_heights()
    facts = Audit(**{**facts.__dict__, "vectorizes": vectorizes})
    draws = 99 if vectorizes else 19
    found = calibrate(pair, facts, as_split(x), simulations=2000, draws=draws, batch_size=500)
    assert found.names == ("coin", "heights[0]", "heights[1]", "log p(x, z)", "log q(z | x)")
    assert found.sites == ("coin", "heights", "heights", "", "")
    assert tuple(found.pit.shape) == (2000, 5)
    assert found.is_calibrated
    assert bool((found.location.abs() < SIGMAS).all())
    assert bool((found.spread.abs() < SIGMAS).all())
    assert found.by_site.keys() == {"coin", "heights", "log p(x, z)", "log q(z | x)"}
    assert torch.equal(found.by_site["heights"], found.pit[:, 1:3])
    assert torch.equal(found.by_site["log p(x, z)"], found.pit[:, 3])
    pair, facts, x = coin_and_heights(narrow=0.5)
    found = calibrate(pair, facts, as_split(x))
    assert found.shapes[:3] == ("uniform", "too narrow", "too narrow")


def test_a_constant_density_is_all_ties() -> None:
    """Latents uniform on a cube, independent of x: every log-density is 0."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        one = pyro.param("one", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(torch.zeros(2), one).to_event(1))

    pair, facts = audited(model, guide, {"x": torch.zeros(20, 3)})
    found = calibrate(pair, facts, as_split(torch.zeros(20, 3)), simulations=1000, draws=5)
    assert found.is_calibrated
    assert bool((found.spread.abs() < SIGMAS).all())
    # Both densities are constant given x, so that their ranks are drawn independently.
    assert float(torch.corrcoef(found.pit[:, 2:].T)[0, 1].abs()) < SIGMAS / math.sqrt(1000)


def test_rounding_parts_no_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Densities that differ by rounding only are equal, as for both sides of a fair coin."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            coin = pyro.sample("coin", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("x", dist.Normal(2 * coin[..., None], 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        odds = pyro.param("odds", torch.tensor(0.3).logit())
        with pyro.plate("data", len(x)):
            pyro.sample("coin", dist.Bernoulli(logits=odds + 2 * x[..., 0] - 2))

    at = Densities.at

    def rounded(self: Densities, latents: Batch) -> Draws:
        found = at(self, latents)
        up = 2 * torch.finfo(torch.float32).eps * found.log_joint.abs()
        return replace(found, log_prior=found.log_prior + up)

    monkeypatch.setattr(Densities, "at", rounded)
    x = torch.zeros(20, 1)
    pair, facts = audited(model, guide, {"x": x})
    found = calibrate(pair, facts, as_split(x), simulations=2000)
    assert bool((found.location.abs() < SIGMAS).all())
    assert bool((found.spread.abs() < SIGMAS).all())


def test_auxiliary_sites_leave_out_the_guides_density() -> None:
    known = pca()
    base = known.pair.guide

    def guide(x: Tensor) -> None:
        with pyro.plate("more", len(x)):
            noise = dist.Normal(torch.zeros((), dtype=torch.float64), 1.0)
            pyro.sample("noise", noise, infer={"is_auxiliary": True})
        base(x)

    pair, facts = audited(known.pair.model, guide, {"x": known.x})
    found = calibrate(pair, facts, known.rows)
    assert found.names == ("z[0]", "z[1]", "log p(x, z)")
    assert found.is_calibrated


def test_the_answer_is_a_function_of_the_seed_and_moves_nothing() -> None:
    known = pca()
    state = torch.get_rng_state()
    seen: list[int] = []
    one = of(known, simulations=70, batch_size=30, on_rows=seen.append)
    assert torch.equal(state, torch.get_rng_state())
    assert seen == [30, 30, 10]
    assert known.pair.training
    torch.rand(3)
    assert torch.equal(one.pit, of(known, simulations=70, batch_size=30).pit)
    assert not torch.equal(one.pit, of(known, simulations=70, batch_size=30, seed=1).pit)
    assert (one.simulations, one.draws) == (70, 99)
    assert bool((one.pit > 0).all())
    assert bool((one.pit < 1).all())
    assert all(p.grad is None for p in known.pair.parameters())


def test_draws_in_chunks_give_ranks_of_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pca(widen=0.5)
    whole = of(known, simulations=2000).pit
    calls: list[int] = []
    draw = Densities.draw

    def counted(self: Densities, particles: int) -> Any:
        calls.append(particles)
        return draw(self, particles)

    monkeypatch.setattr(Densities, "draw", counted)
    monkeypatch.setattr(ranks, "CHUNK", 40 * 4 * 2000)
    parts = of(known, simulations=2000, batch_size=2000).pit
    assert calls == [40, 40, 19]
    a, b = ((pit - 0.5).square() for pit in (whole, parts))
    error = ((a.var(0) + b.var(0)) / 2000).sqrt()
    assert bool(((a.mean(0) - b.mean(0)).abs() < SIGMAS * error).all())


def test_arviz_takes_the_ranks_as_they_are() -> None:
    import arviz_stats  # noqa: F401  # makes `azstats` an accessor of xarray
    import xarray as xr

    found = of(pca(), simulations=100)
    sets = xr.Dataset(
        {
            name: (("sample", f"{name}_dim")[: pit.dim()], pit.numpy())
            for name, pit in found.by_site.items()
        }
    )
    p_values, _, _ = sets.azstats.uniformity_test(dim="sample")
    assert p_values["z"].to_numpy().tolist() == found.p_values[:2].tolist()
    assert float(p_values["log p(x, z)"]) == float(found.p_values[2])


def test_what_cannot_be_calibrated_is_refused() -> None:
    known = pca()
    with pytest.raises(InputError, match="simulations is 1"):
        of(known, simulations=1)
    with pytest.raises(InputError, match="draws is 0"):
        of(known, draws=0)
    with pytest.raises(InputError, match="level is 5"):
        of(known, level=5)
    pair, facts = audited(known.pair.model, Delta(2, (4,), AFFINE).double(), {"x": known.x})
    with pytest.raises(InputError, match="point mass"):
        calibrate(pair, facts, known.rows)
    shared = Audit(**{**known.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        calibrate(known.pair, shared, known.rows)
    broken = pca()
    with torch.no_grad():
        next(broken.pair.guide.parameters()).fill_(math.nan)
    # Pyro's check would raise first.
    with pyro.validation_enabled(False), pytest.raises(InputError, match="not a number"):
        of(broken)
