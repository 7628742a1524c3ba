"""Laws of predictive checks: data of the model pass, and deviations of other data are named."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.data import Split, as_split
from ppvae.diagnostics.effort import FULL, QUICK, Effort
from ppvae.diagnostics.model.predictive import STATISTICS, Kind, Predictive, Replicated, check
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.pca import PCA, pca
from tests.support.slow import few

SIGMAS = 5.0


def of(known: PCA, rows: Split | None = None, **settings: Any) -> Predictive:
    return check(known.pair, known.facts, known.rows if rows is None else rows, **settings)


@pytest.mark.parametrize("effort", [FULL, QUICK], ids=["full", "quick"])
def test_each_effort_has_enough_replications_for_a_small_p(effort: Effort) -> None:
    outside = Replicated(observed=1.0, replicated=torch.zeros(effort.replications))
    assert outside.p_value < 0.05


@pytest.mark.slow
def test_a_models_own_data_pass() -> None:
    sets = 20
    known = pca(rows=100 * sets)
    found = [of(known, as_split(x), replications=19) for x in known.x.split(100)]
    names = [name for name in found[0].statistics if name != "share of zeros"]
    assert names == [*(n for n in STATISTICS if n != "share of zeros"), "elbo"]
    for name in names:
        # The real set is one of 20 exchangeable ones: p = 2 m / 20, m = 1 to 10, equally likely.
        p = torch.tensor([each.statistics[name].p_value for each in found])
        assert float(p.min()) >= 0.1
        assert abs(float(p.mean()) - 0.55) < SIGMAS * math.sqrt(33 / 400 / sets)
        z = torch.tensor([each.statistics[name].z_score for each in found])
        assert 0.3 < float(z.square().mean()) < 3.0
    assert sum(bool(each.misfits()) for each in found) <= 1
    assert found[0].verdict == (
        "all 9 statistics of the data are within 4 standard deviations of those of the model's new "
        "data"
    )


@pytest.mark.parametrize("kind", few(["prior", "posterior"], 2))
def test_replicated_data_have_the_law_they_should(kind: Kind) -> None:
    """The mean over data of the mean of a datum, with a known distribution for both kinds."""
    known = pca(rows=60, widen=1.5)
    n, r = 60, 200
    found = of(known, kind=kind, replications=r).statistics["mean"]
    share = torch.full((4,), 1 / 4, dtype=torch.float64)
    w = share @ known.w
    noise = known.variance / 4
    if kind == "prior":
        mean, variance = share @ known.b, w.square().sum() + noise
    else:
        scale = 1.5 * known.precision.diagonal().rsqrt()
        mean = share @ known.b + (known.posterior_loc @ w).mean()
        variance = (w * scale).square().sum() + noise
    values = found.replicated
    assert abs(float(values.mean() - mean)) < SIGMAS * math.sqrt(float(variance) / n / r)
    assert abs(float(values.var() * n / variance) - 1) < SIGMAS * math.sqrt(2 / r)
    assert found.observed == pytest.approx(float(known.x.mean()), abs=1e-6)


@pytest.mark.parametrize("kind", ["prior", "posterior"])
@pytest.mark.parametrize(
    ("change", "named", "unmoved"),
    [
        (lambda x, b: b + 2**0.5 * (x - b), "scale within a datum", "mean"),
        (lambda x, _: x + 0.5, "mean", "scale between data"),
    ],
)
def test_what_differs_is_named(
    kind: Kind, change: Callable[[Tensor, Tensor], Tensor], named: str, unmoved: str
) -> None:
    known = pca(rows=500)
    found = of(known, as_split(change(known.x, known.b)), kind=kind)
    misfits = found.misfits()
    assert {named, "elbo"} <= set(misfits)
    assert unmoved not in misfits
    assert found.statistics[named].p_value == pytest.approx(2 / 51)
    # Real data from another model are less probable than data of this one.
    assert found.statistics["elbo"].z_score < -6
    assert f"{misfits[0]} " in found.verdict
    drawn = {"prior": "new", "posterior": "reconstructed"}[kind]
    assert found.verdict.startswith(f"the model's {drawn} data differ from the data in ")
    assert found.misfits(threshold=1e6) == ()
    assert [abs(found.statistics[name].z_score) for name in misfits] == sorted(
        (abs(found.statistics[name].z_score) for name in misfits), reverse=True
    )


def test_the_models_own_statistic_is_the_bound() -> None:
    known = pca(rows=200)  # the guide is exact, and every draw of the bound is log p(x)
    found = of(known, replications=100).statistics["elbo"]
    assert found.observed == pytest.approx(float(known.log_p.mean()), abs=1e-5)
    # E log p(x) of the model's own data is minus an entropy.
    eye = torch.eye(4, dtype=torch.float64)
    covariance = known.w @ known.w.T + known.variance * eye
    entropy = dist.MultivariateNormal(known.b, covariance).entropy()
    error = found.replicated.std() / math.sqrt(100)
    assert abs(float(found.replicated.mean() + entropy)) < SIGMAS * float(error)


def test_statistics_are_what_they_are_called() -> None:
    x = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 7.0], [1.0, 2.0, 3.0]])
    n = x.numpy()
    centred = n - n.mean(0)
    pairs = [centred[:, i] * centred[:, i + 1] for i in range(2)]
    left, right = centred[:, :-1], centred[:, 1:]
    want = {
        "mean": n.mean(),
        "scale": n.std(ddof=1),
        "scale within a datum": n.std(1).mean(),
        "scale between data": n.mean(1).std(ddof=1),
        "share of zeros": 2 / 9,
        "smallest": 0.0,
        "largest": 7.0,
        "correlation of neighbours": sum(p.sum() for p in pairs)
        / math.sqrt((left**2).sum() * (right**2).sum()),
    }
    assert STATISTICS.keys() == want.keys()
    for name, statistic in STATISTICS.items():
        assert float(statistic(x)) == pytest.approx(float(want[name]), rel=1e-5), name


def test_a_p_value_counts_both_tails_and_ties() -> None:
    values = torch.arange(1.0, 10.0, dtype=torch.float64)  # 1 to 9
    for observed, p in ((0.0, 0.2), (10.0, 0.2), (1.5, 0.4), (8.5, 0.4), (5.0, 1.0), (1.0, 0.4)):
        assert Replicated(observed, values).p_value == pytest.approx(p)
    assert Replicated(5.0, values).z_score == 0.0
    spread = float(values.std()) * math.sqrt(10 / 9)
    assert Replicated(9.0, values).z_score == pytest.approx(4 / spread)
    same = torch.ones(5, dtype=torch.float64)
    assert Replicated(1.0, same).z_score == 0.0
    assert Replicated(1.0, same).p_value == 1.0
    assert Replicated(0.5, same).z_score == -math.inf
    broken = torch.tensor([1.0, math.nan], dtype=torch.float64)
    assert math.isinf(Replicated(1.0, broken).z_score)


def test_binary_images_and_a_statistic_of_ones_own() -> None:
    shape = (1, 5, 4)
    torch.manual_seed(0)
    model = VAE(StandardNormal(3), Bernoulli(shape), MLP)
    batch = {"x": (torch.rand(300, *shape) < 0.9).float()}
    pair = Pair(model, Delta(3, shape), batch)
    facts = audit(pair, Trace_ELBO, batch)

    def stripes(x: Tensor) -> float:
        return float((x[..., 0] != x[..., 1]).float().mean())

    found = check(
        pair, facts, as_split(batch["x"]), statistics={**STATISTICS, "stripes": stripes}, rows=200
    )
    # A point mass has no bound; the rest is there, and an untrained decoder gives ones half the
    # time, which real data have nine times of ten.
    assert found.statistics.keys() == {*STATISTICS, "stripes"}
    assert found.rows == 200
    assert {"mean", "share of zeros", "stripes"} <= set(found.misfits())
    assert found.statistics["stripes"].observed == pytest.approx(0.18, abs=0.05)
    for name in ("smallest", "largest"):
        assert found.statistics[name].z_score == 0.0
    again = check(pair, facts, as_split(batch["x"]), kind="posterior", replications=2)
    assert again.kind == "posterior"


def test_zeros_of_elements_that_never_vary_are_no_trait_to_reproduce() -> None:
    known = pca(rows=200)
    padded = known.x.clone()
    padded[:, 1:] = 0.0
    alone = of(known, as_split(padded), replications=3).statistics["share of zeros"]
    assert alone.observed == 0.0
    padded[::2, 1] = 1.0  # an indicator varies
    found = of(known, as_split(padded), replications=3).statistics["share of zeros"]
    assert found.observed == pytest.approx(1 / 4)
    assert "share of zeros" not in of(known, as_split(padded * 0), replications=3).statistics


def test_one_column_has_no_neighbours_and_one_row_is_no_data_set() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(torch.zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a[..., None].expand(*a.shape, 2), 1.0).to_event(1))
            pyro.sample("seen", dist.Normal(b.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        gain = pyro.param("gain", torch.tensor(0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(gain * x[..., 0], 1.0))
            pyro.sample("b", dist.Normal(gain * x.expand(*x.shape[:-1], 2), 1.0).to_event(1))

    x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0)) * math.sqrt(7)
    pair = Pair(model, guide, {"x": x})
    facts = audit(pair, Trace_ELBO, {"x": x})
    loops = Audit(**{**facts.__dict__, "vectorizes": False})
    for each in (facts, loops):
        for kind in ("prior", "posterior"):
            found = check(pair, each, as_split(x), kind=kind, replications=30)
            left_out = {"correlation of neighbours"}
            assert found.statistics.keys() == {*STATISTICS, "elbo"} - left_out
            if kind == "prior":  # x ~ N(0, 7), as the model has it
                assert found.misfits() == ()
    with pytest.raises(InputError, match="rows is 1"):
        check(pair, facts, as_split(x[:1]))


def test_the_answer_is_a_function_of_the_seed_and_moves_nothing() -> None:
    known = pca()
    state = torch.get_rng_state()
    seen: list[int] = []
    for kind in ("prior", "posterior"):
        settings: dict[str, Any] = {"kind": kind, "replications": 2, "batch_size": 25}
        one = of(known, **settings, on_rows=seen.append)
        assert torch.equal(state, torch.get_rng_state())
        torch.rand(3)
        state = torch.get_rng_state()
        two, other = of(known, **settings), of(known, **settings, seed=1)
        for name in ("mean", "elbo"):
            a, b, c = (each.statistics[name].replicated for each in (one, two, other))
            assert torch.equal(a, b)
            assert not torch.equal(a, c)
            assert len(set(a.tolist())) == 2
    assert seen == [25, 15] * 4
    assert known.pair.training


def test_what_cannot_be_checked_is_refused() -> None:
    known = pca()
    with pytest.raises(InputError, match="kind is 'both'"):
        of(known, kind="both")
    with pytest.raises(InputError, match="replications is 1"):
        of(known, replications=1)
    with pytest.raises(InputError, match="a statistic is named 'elbo'"):
        of(known, statistics={"elbo": torch.mean})
    shared = Audit(**{**known.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="shared by all data"):
        check(known.pair, shared, known.rows)
    blind = Audit(**{**known.facts.__dict__, "supports": {}})
    with pytest.raises(InputError, match="there are none in the model"):
        check(known.pair, blind, known.rows)
    with torch.no_grad():
        next(known.pair.guide.parameters()).fill_(math.nan)
    # Pyro's check would raise first.
    with pyro.validation_enabled(False), pytest.raises(InputError, match="not a number"):
        of(known)
