"""All contenders that are installed, and all tables of steps, on toy data.

At a learning rate of about 0 all contenders stay at their initial weights, which are the same, so
their losses are equal up to noise.
"""

import math
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from tests.benchmarks import compiling, processes, race, scaling, speed
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.job import Job, Shape
from tests.benchmarks.plan import Plan
from tests.support.captures import by_graph
from tests.support.fits import quick, small
from tests.support.toy_mode import here, lines_of, rows_of, uncompiled

__all__ = ["by_graph", "here", "quick", "uncompiled"]  # fixtures

CPU = [name for name, contender in CONTENDERS.items() if contender.device != "cuda"]
HERE = [name for name in CPU if all(map(find_spec, CONTENDERS[name].uses))]
"""Contenders whose libraries are installed."""

APART = 2.0
"""Largest difference of a batch's loss at equal weights, in nats; noise is up to 1."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # Pyro's JIT uses it
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # and reads numbers while it traces
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # of Python 3.13.0
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_processes(tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BATCHES", (16,))
    names, lock = map("run-{}".format, count(1)), Lock()

    def fitted(_: int, batch: int, __: str) -> dict[str, float]:
        with lock:  # one fit at a time in a process
            run = small(tmp_path, next(names), batch_size=batch, epochs=3, evaluate_every=3)
            return processes.timed(run.path)

    monkeypatch.setattr(processes, "_fit", fitted)
    plan = Plan(tmp_path / "x.csv", 1, 1, jobs=[Job("mlp", batch=4)])
    processes.processes(plan)
    rows = rows_of(plan.out)
    assert len(rows) == 3 + len(processes.NETWORKS)
    one, two, apart = rows[:3]
    assert float(one["megabytes_per_step"]) == 0
    assert float(two["megabytes_per_step"]) == pytest.approx(4e-6 * float(two["parameters"]))
    (bar,) = (line for line in lines_of(plan.out) if line["bar"])
    assert float(bar["is"]) == pytest.approx(
        float(two["ms_per_step"]) / float(apart["ms_per_step"])
    )


def test_machines_pay_until_their_messages_cost_more() -> None:
    """If only the delay of messages costs time, the best number has a closed form."""
    row = {"ms_per_step": 80.0, "parameters": 1000}
    assert processes.step(0.08, 1000, math.inf, 1e-4, 1) == 0.08
    assert processes.best_count(row, math.inf, 1e-4) == round(math.sqrt(0.08 / 2e-4)) == 20
    # Gradients alone bound a step from below: twice their bytes, however many machines.
    assert processes.step(0.08, 10**6, 1e9, 0.0, 1000) == pytest.approx(8e-3, rel=0.02)
    assert processes.best_count(row | {"parameters": 10**7}, 1e8, 0.0) == 1


@pytest.mark.slow
def test_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_child", lambda job, _: compiling.timed(job))
    compiling.compiling(plan := Plan(tmp_path / "x.csv", 1, jobs=[Job("mlp", batch=4)]))
    rows = rows_of(plan.out)
    assert [(row["shape"], row["process"]) for row in rows] == [("mlp", "first"), ("mlp", "second")]
    assert all(float(row["seconds"]) > 0 for row in rows)
