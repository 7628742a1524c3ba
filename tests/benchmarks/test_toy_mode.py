"""Every table, script and contender of the benchmarks runs, on toys: so that none goes stale.

What belongs to the package's own environment is run. Native code is not compiled here: graphs are
run as they were traced. At a learning rate of about 0 all contenders stay at their initial weights,
which are the same: so are their losses, but for noise.
"""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, get_args

import numpy as np
import pyro
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from ppvae.cli.given import given_settings
from ppvae.diagnostics.effort import Effort
from ppvae.settings import QUESTIONS
from tests.benchmarks import (
    annealing,
    compiling,
    diagnose,
    encode,
    epoch,
    evidence,
    imports,
    orderings,
    race,
    scaling,
    semi_supervised,
    speed,
    time_to_bound,
    whole_fit,
    worker,
)
from tests.benchmarks.__main__ import TABLES
from tests.benchmarks.all_tables import all_tables
from tests.benchmarks.bars import Bar
from tests.benchmarks.contenders import CONTENDERS, networks
from tests.benchmarks.held_out import held_out_bound
from tests.benchmarks.initial import initial_weights
from tests.benchmarks.job import Job, Shape, Spread
from tests.benchmarks.plan import Plan, Table
from tests.benchmarks.table import publish
from tests.support.captures import by_graph
from tests.support.fits import quick

__all__ = ["by_graph", "quick"]  # fixtures

CPU = [name for name, contender in CONTENDERS.items() if contender.device != "cuda"]
HERE = [name for name in CPU if all(map(find_spec, CONTENDERS[name].uses))]
"""Contenders whose libraries are installed."""

APART = 2.0
"""Nats between the losses of two contenders at equal weights, on a batch: noise makes up to 1."""

TINY = {"class_path": "MLP", "init_args": {"hidden": [4]}}


class Here:
    """A contender in this process, with a parameter store of its own: `WorkerProcess`, at once."""

    def __init__(self, name: str, job: Job, folder: str) -> None:
        self._name, self._job = name, job
        self._store: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @contextmanager
    def _own_store(self) -> Iterator[None]:
        with pyro.get_param_store().scope(self._store) as self._store:
            yield

    def set_up(self) -> dict[str, Any]:
        torch.manual_seed(0)
        with self._own_store():
            self._run, ready = worker._set_up(self._name, self._job)
        return ready

    def take(self, steps: int) -> dict[str, float]:
        with self._own_store():
            return worker._timed(self._run, steps)

    def bound(self) -> float:
        return worker._judged(self._run, self._job)["bound"]

    def finish(self) -> float:
        return worker._peak_mib()


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch, by_graph: None) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda it, mode: real(it, backend="eager"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(race, "WorkerProcess", Here)
    monkeypatch.setattr(time_to_bound, "WorkerProcess", Here)
    monkeypatch.setattr(worker, "WARM_UP", 1)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)  # a fit takes as many as it pays for


def lines_of(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def rows_of(table: Path) -> list[dict[str, str]]:
    """Those that are no bars."""
    return [line for line in lines_of(table) if not line.get("bar")]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # Pyro's JIT is made of it
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # Dynamo, of a Python
@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ("mlp", HERE),
        pytest.param("conv", ["ours", "torch", "numpyro-loop", "products"], marks=pytest.mark.slow),
    ],
)
def test_every_contender_steps_and_all_start_from_the_same_loss(
    shape: Shape, names: list[str], tmp_path: Path, here: None
) -> None:
    assert {"ours", "ours-compiled", "ours-bf16", "numpyro-loop"} <= set(HERE)
    plan = Plan(tmp_path / "x.csv", 1, 1, jobs=[Job(shape, batch=64, lr=1e-12)], only=names)
    speed.speed(plan)
    rows = rows_of(plan.out)
    assert [row["contender"] for row in rows] == names
    assert {row["contender"]: row["note"] for row in rows if row["note"]} == {}
    losses = {
        row["contender"]: float(row["loss"]) for row in rows if row["contender"] != "products"
    }
    middle = float(np.median(list(losses.values())))
    assert losses == pytest.approx(dict.fromkeys(losses, middle), rel=0, abs=APART)


def test_a_contender_answers_from_a_process_of_its_own() -> None:
    (result,) = race.race(["products"], Job("mlp", batch=2), 1, 1).values()
    assert result.note == ""
    assert result.ms
    assert result.peak_mib


def test_scaling(tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in (
        ("_CONTENDERS", ("ours",)), ("_BATCHES", (2,)), ("_LATENTS", (2,)), ("_PARTICLES", (1, 2)),
    ):  # fmt: skip
        monkeypatch.setattr(scaling, name, values)
    plan = Plan(tmp_path / "x.csv", 1, 1, jobs=[Job("mlp", batch=4)])
    scaling.scaling(plan)
    rows = rows_of(plan.out)
    assert len(rows) == 4
    assert all(row["note"] == "" and float(row["ms_per_step"]) > 0 for row in rows)


def test_time_to_bound(tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", images)
    job = Job("mlp", batch=10, latent=2, encoder=(4,), decoder=(4,), epochs=2)
    monkeypatch.setattr(time_to_bound, "TARGET", -1e9)
    monkeypatch.setattr(time_to_bound, "_THEIRS", {"torch": replace(job, epochs=0)})
    names = ["ours-compiled", "pyro-meanfield", "numpyro-loop", "torch"]
    plan = Plan(tmp_path / "x.csv", 1, only=names)
    time_to_bound.time_to_bound(plan, str(tmp_path / "x.npy"), job)
    rows = rows_of(plan.out)
    assert [row["contender"] for row in rows] == [*names, "torch"]
    assert all(row["note"] == "" and float(row["all_seconds"]) > 0 for row in rows)
    bounds = [float(row["bound"]) for row in rows]
    assert bounds == pytest.approx([np.mean(bounds)] * len(bounds), rel=0, abs=20)


@pytest.mark.parametrize(
    ("seconds", "bound", "verdict"),
    [
        (9.0, -96.9, ""),
        (9.0, -98.3, "not within its 3 epochs: at -98.30"),
        (10.0, -98.3, "not within 10 s: at -98.30"),
    ],
)
def test_a_fit_that_reaches_no_bound_says_where_it_is(
    seconds: float, bound: float, verdict: str
) -> None:
    result = race.Result(seconds=1.0)
    fit = time_to_bound._Fit("torch", "ours", result, seconds, steps=9, epochs=3, bound=bound)
    assert time_to_bound._verdict(fit, limit=10.0) == verdict
    assert fit.all_seconds == (None if verdict else 10.0)


@pytest.mark.parametrize(
    ("reached", "ratio"),
    [
        ({"ours-compiled": -96.9, "torch": -96.9, "pythae": -96.9}, 0.5),
        ({"ours-compiled": -96.9, "torch": -98.3, "pythae": -96.9}, 0.25),
        ({"ours-compiled": -96.9, "torch": -98.3}, None),
        ({"ours-compiled": -98.3, "torch": -96.9}, None),
        ({"ours-compiled": -96.9}, None),
        ({"torch": -96.9}, None),
        ({}, None),
    ],
)
def test_the_bar_of_time_to_bound_needs_ours_and_a_peer_that_got_there(
    reached: dict[str, float], ratio: float | None
) -> None:
    seconds = {"ours-compiled": 9.0, "torch": 19.0, "pythae": 39.0}
    fits = [
        time_to_bound._Fit(name, "ours", race.Result(seconds=1.0), seconds[name], bound=bound)
        for name, bound in reached.items()
    ]
    at_once = time_to_bound._Fit("torch", "its own", race.Result(seconds=0.0), 0.1, bound=0.0)
    assert time_to_bound._bar([*fits, at_once]).reached == ratio


@pytest.mark.parametrize("spread", get_args(Spread))
def test_the_judge_of_time_to_bound_is_the_bound(spread: Spread, tmp_path: Path) -> None:
    """Exactly, where a decoder takes no notice of its code."""
    job = Job("mlp", latent=3, encoder=(5,), spread=spread, images=str(tmp_path / "x.npz"))
    x = (np.random.default_rng(0).random((1_500, 784)) < 0.5).astype(np.float32)
    np.savez(tmp_path / "x.npz", held_out=x.astype(np.uint8))
    encoder, decoder = initial_weights(job)
    decoder = [(np.zeros_like(weight), bias) for weight, bias in decoder]
    at = torch.from_numpy(x)
    loc, s = networks.encoder(job)(at).chunk(2, dim=-1)
    posterior = Normal(loc, networks.log_scale(s, job).exp())
    kl = kl_divergence(posterior, Normal(torch.zeros(3), 1.0)).sum(-1)
    log_likelihood = Bernoulli(logits=torch.from_numpy(decoder[-1][1])).log_prob(at).sum(-1)
    exact = (log_likelihood - kl).mean().item()
    assert held_out_bound(job, encoder, decoder) == pytest.approx(exact, rel=1e-6)


def test_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [arguments[1] for arguments in imports._COMMANDS.values() if arguments[0] == "-m"]
    assert all(map(find_spec, modules))
    empty = {name: ["-c", "pass"] for name in (imports._TORCH, imports._PYRO, "fit --help")}
    monkeypatch.setattr(imports, "_COMMANDS", empty)
    monkeypatch.setattr(imports, "_FIT", ["-c", "import json.tool"])
    imports.imports(plan := Plan(tmp_path / "x.csv", 1))
    rows = rows_of(plan.out)
    assert [row["command"] for row in rows] == [*empty, "fit"]
    if sys.platform == "linux":
        assert all(float(row["peak_mib"]) >= float(row["anonymous_mib"]) > 0 for row in rows)
        assert [int(row["modules"]) for row in rows[:-1]] == [0, 0, 0]
        assert int(rows[-1]["modules"]) > 0


def test_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def done(arguments: list[str]) -> float:
        asked.append(arguments)
        return float(len(asked))

    monkeypatch.setattr(encode, "_seconds", done)
    monkeypatch.setattr(encode, "footprint", lambda _: {"peak_mib": 1.0})
    encode.encode(plan := Plan(tmp_path / "x.csv", 2), rows=20)
    whole, start, difference = rows_of(plan.out)
    assert [whole["what"], start["what"]] == ["20 images", "10 images"]
    assert float(difference["seconds"]) == -1  # each took a second more than that before it
    for _, module, *flags in asked:
        given_settings(module.removeprefix("ppvae."), flags)  # takes them


def test_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch, "_ALONE", 1)
    settings: dict[str, Any] = {"batch_size": 600, "encoder": TINY, "decoder": TINY}
    epoch.epoch(plan := Plan(tmp_path / "x.csv", 2), "digits", **settings)
    (row,) = rows_of(plan.out)
    assert float(row["ratio"]) > 0


def test_whole_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_fit, "_child", whole_fit.timed)
    flags = ("--epochs", "2", "--batch-size", "600", "--decoder", "MLP", "--decoder.hidden", "4")
    whole_fit.whole_fit(plan := Plan(tmp_path / "x.csv", 1), {"default": flags})
    (row,) = rows_of(plan.out)
    assert all(float(row[part]) > 0 for part in whole_fit.PARTS)


def test_evidence(tmp_path: Path) -> None:
    evidence.evidence(plan := Plan(tmp_path / "x.csv", 1, rows=130), samples=4)
    assert [row["what"] for row in rows_of(plan.out)] == [
        "compiled", "as it is", "products",
    ]  # fmt: skip


def test_annealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_graph: None) -> None:
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 1)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 2)
    annealing.annealing(plan := Plan(tmp_path / "x.csv", 1), temperatures=4)
    assert [row["what"] for row in rows_of(plan.out)] == ["compiled", "as it is"]
    assert len([line for line in lines_of(plan.out) if line["bar"]]) == 1


def test_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_child", lambda job, _: compiling.timed(job))
    compiling.compiling(plan := Plan(tmp_path / "x.csv", 1, jobs=[Job("mlp", batch=4)]))
    rows = rows_of(plan.out)
    assert [(row["shape"], row["process"]) for row in rows] == [("mlp", "first"), ("mlp", "second")]
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Effort(
        rows=20, evidence_rows=5, samples=30, trusted_rows=4, trusted_samples=40, refined_rows=2,
        refine_steps=8, refined_draws=4, annealed_rows=2, temperatures=2,
        chains=2, sampled_rows=0, simulations=4, replications=2, replicated_rows=4,
        compared_samples=2, estimates=4, particles=(1,), kept_rows=2, kept_draws=2,
    )  # fmt: skip
    for name in ("QUICK", "FULL"):
        monkeypatch.setattr(f"ppvae.diagnostics.effort.{name}", few)
    monkeypatch.setattr("ppvae.diagnostics.files.write_diagnosis", lambda *_: None)
    monkeypatch.setattr("ppvae.report.attempt", lambda *_, **__: "")
    monkeypatch.setattr(diagnose, "_child", diagnose.timed)
    settings: dict[str, Any] = {"batch_size": 600, "encoder": TINY, "decoder": TINY}
    diagnose.diagnose(plan := Plan(tmp_path / "x.csv", 1), "digits", **settings)
    asked = [row["what"] for row in rows_of(plan.out) if row["effort"] == "quick"]
    assert asked[: len(QUESTIONS)] == list(QUESTIONS)
    assert len([line for line in lines_of(plan.out) if line["bar"]]) == 2


def test_orderings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppvae.distributions.moments.DRAWS", 2)
    x = np.random.default_rng(0).random((150, 4)) < 0.5
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    orderings.main(
        f"--data {tmp_path / 'x.npy'} --epochs 1 --warm-up 0 --hidden 4 4 --latent-dim 2 "
        f"--images 4 --samples 2 --out {tmp_path / 'runs'} --tables {tmp_path}".split()
    )
    table = (tmp_path / "orderings-1.md").read_text()
    assert all(title in table for title, _ in orderings.CASES.values())
    assert "nan" not in table


def test_semi_supervised(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(400) % 10)
    semi_supervised.main(
        f"--data {tmp_path / 'x.npz'} --epochs 2 --seeds 0 --hidden 4 --latent-dim 2 --steps 2 "
        "--batch-size 200 --labelled 100 --code-epochs 1 --code-hidden 4 --code-dim 2 "
        f"--out {tmp_path / 'runs'} --table {tmp_path / 'table.md'}".split()
    )
    table = (tmp_path / "table.md").read_text()
    assert all(title in table for title, _ in semi_supervised.CASES.values())
    assert "nan" not in table


def test_a_bar_is_a_line_with_its_verdict_where_and_when(tmp_path: Path) -> None:
    bars = [Bar("a", 2.0, 1.5), Bar("b", 2.0, 3.0), Bar("c", 2.0, None)]
    publish(Plan(tmp_path / "x.csv", 1, load=0.5), [{"ms": 1}], bars, versions={"pyro": "2"})
    first, *rest = lines_of(tmp_path / "x.csv")
    assert (first["ms"], first["verdict"]) == ("1", "")
    assert [line["verdict"] for line in rest] == ["met", "missed by 50.0%", "not run"]
    assert all(line["machine"] and line["date"] for line in (first, *rest))
    assert {line["versions"] for line in rest} == {"pyro 2"}
    assert {line["load"] for line in rest} == {"0.5 cores busy at the start"}


def test_all_tables_are_made_though_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(command: list[Any], **_: Any) -> Any:
        flag, rounds, out = command[-3:]
        assert rounds == "--rounds=1"
        if flag == "--bad-one":
            return SimpleNamespace(returncode=3, stdout="half a table\n")
        bars = [Bar("good", 2.0, 3.0), Bar("not run", 2.0, None)]
        publish(Plan(Path(out.removeprefix("--out=")), 1), [{"ms": 1}], bars, versions={})
        return SimpleNamespace(returncode=0, stdout="a table\n")

    monkeypatch.setattr("tests.benchmarks.all_tables.subprocess.run", made)
    tables = [Table("bad_one", ""), Table("skipped", "", briefly=None), Table("good", "")]
    assert all_tables(tables, tmp_path, ["--rounds=1"]) == 1
    assert (tmp_path / "bad_one.md").read_text() == "half a table\nfailed with status 3\n"
    assert {path.name for path in tmp_path.iterdir()} == {"bad_one.md", "good.md", "good.csv"}
    assert capsys.readouterr().out.count("missed by 50.0%") == 2  # beside it, and at the end


def test_each_table_is_a_module_with_its_function() -> None:
    assert all(callable(table.maker()) for table in TABLES)


def test_the_page_lists_each_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compilation-and-speed.md").read_text()
    assert [table.name for table in TABLES if f"| `{table.flag}`" not in page] == []
