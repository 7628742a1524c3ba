"""Every table, script and contender of the benchmarks runs, on toys: so that none goes stale.

What belongs to the package's own environment is run. Native code is not compiled here: graphs are
run as they were traced. At a learning rate of about 0 all contenders stay at their initial weights,
which are the same: so are their losses, but for noise.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyro
import pytest
import torch

from ppvae.diagnostics.effort import Effort
from ppvae.settings import QUESTIONS
from tests.benchmarks import (
    annealing,
    diagnose,
    epoch,
    evidence,
    imports,
    orderings,
    race,
    scaling,
    semi_supervised,
    speed,
    whole_fit,
    worker,
)
from tests.benchmarks.__main__ import TABLES
from tests.benchmarks.bars import Bar
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.job import Job, Shape
from tests.benchmarks.plan import Plan
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

    def finish(self) -> float:
        return worker._peak_mib()


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch, by_graph: None) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda it, mode: real(it, backend="eager"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "WorkerProcess", Here)
    monkeypatch.setattr(worker, "WARM_UP", 1)


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


def test_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [arguments[1] for arguments in imports._COMMANDS.values() if arguments[0] == "-m"]
    assert all(map(find_spec, modules))
    empty = {name: ["-c", "pass"] for name in (imports._TORCH, imports._PYRO, "fit --help")}
    monkeypatch.setattr(imports, "_COMMANDS", empty)
    imports.imports(plan := Plan(tmp_path / "x.csv", 1))
    assert [row["command"] for row in rows_of(plan.out)] == list(empty)


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


def test_diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Effort(
        rows=20, evidence_rows=5, samples=30, trusted_rows=4, trusted_samples=40, refined_rows=2,
        refine_steps=8, refined_draws=4, fitted_codes=20, annealed_rows=2, temperatures=2,
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


def test_each_table_is_a_module_with_its_function() -> None:
    assert all(callable(table.maker()) for table in TABLES)
