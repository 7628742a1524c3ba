"""A fit that was stopped, killed or extended equals an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ppvae.errors import InputError
from ppvae.fit import main, resume
from ppvae.run import Run
from tests.support.fits import (
    checkpoint,
    differences,
    figures,
    future,
    interrupt,
    quick,
    small,
    small_flags,
    weights,
)
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here


@pytest.mark.parametrize(
    ("number", "after", "raised"),
    few(
        [
            (signal.SIGTERM, 5, SystemExit),
            (signal.SIGINT, 4, KeyboardInterrupt),
            (signal.SIGTERM, 3, SystemExit),
        ],
        3,
    ),
    ids=["TERM in an epoch", "INT in an epoch", "TERM at an epoch's end"],
)
def test_a_stopped_fit_goes_on_bit_by_bit(
    number: int,
    after: int,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more: dict[str, Any] = {"epochs": 4, "warm_up": 2, "schedule": "CosineAnnealingLR"}
    small(tmp_path, "whole", **more)
    with monkeypatch.context() as patch:
        interrupt(patch, number, after)
        with pytest.raises(raised) as left:
            small(tmp_path, "cut", **more)
    assert getattr(left.value, "code", 143) == 143
    assert checkpoint(tmp_path / "cut")["progress"]["step"] == after
    assert not (tmp_path / "cut" / "summary.json").exists()
    main(["--resume", str(tmp_path / "cut")])
    assert not differences(future(tmp_path / "cut"), future(tmp_path / "whole"))
    assert not differences(weights(tmp_path / "cut", "best"), weights(tmp_path / "whole", "best"))
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    summaries = [Run(tmp_path / name).summary or {} for name in ("cut", "whole")]
    assert summaries[0] | {"seconds": 0} == summaries[1] | {"seconds": 0}


@pytest.mark.slow
def test_a_fit_killed_in_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    epochs = 400
    flags = [*small_flags(tmp_path, "killed"), "--epochs", str(epochs)]
    command = [sys.executable, "-m", "ppvae.fit", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.csv"
    deadline = time.monotonic() + 90
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(random.random())
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = checkpoint(tmp_path / "killed")["progress"]["epoch"]
    assert 0 < done < epochs
    # The planned number of epochs does not affect earlier epochs: a few are enough.
    resume(tmp_path / "killed", epochs=done + 2)
    small(tmp_path, "whole", epochs=done + 2)
    assert not differences(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    both = [[r["step"] for r in figures(tmp_path / name)] for name in ("killed", "whole")]
    assert both[0] == both[1]


def test_more_epochs_are_a_longer_fit(tmp_path: Path) -> None:
    small(tmp_path, "long", epochs=4)
    small(tmp_path, "short", epochs=2)
    resume(tmp_path / "short", epochs=4)
    assert not differences(future(tmp_path / "short"), future(tmp_path / "long"))
    assert figures(tmp_path / "short") == figures(tmp_path / "long")
    assert Run(tmp_path / "short").config["epochs"] == 4


def test_more_epochs_are_refused_where_a_schedule_was_laid_out(tmp_path: Path) -> None:
    small(tmp_path, schedule="CosineAnnealingLR")
    with pytest.raises(InputError, match=r"schedule .* 2 epochs"):
        resume(tmp_path / "run", epochs=4)
    assert Run(tmp_path / "run").config["epochs"] == 2


@pytest.mark.slow
def test_what_was_written_after_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    small(tmp_path, "whole", epochs=3)
    run = small(tmp_path, "run", epochs=2).path
    kept = figures(run)
    with (run / "metrics.csv").open("a") as file:
        file.write("3,9,1.0,train,-1,-1,0,-1,1.0,0.001\n3,9,1.0,val")
    scratch, stray = run / ".partial" / "step-9", run / "checkpoints" / "step-99"
    half = run / "checkpoints" / "step-9"  # as the fit will name its last
    others = [run / ".mine-x1", run / "checkpoints" / ".mine-x2"]
    for folder in (scratch, stray, half, *others):
        folder.mkdir(parents=True)
        (folder / "part").write_text("half")
    assert resume(run, epochs=3).history()[: len(kept)]
    assert figures(run) == figures(tmp_path / "whole")
    assert not scratch.exists()
    assert not stray.exists()
    assert not differences(future(run), future(tmp_path / "whole"))
    assert all(folder.exists() for folder in others)  # folders that the fit did not create are kept


def test_a_finished_fit_concludes_again_and_is_otherwise_as_it_was(tmp_path: Path) -> None:
    run = small(tmp_path)
    before, rows, summary = future(run.path), run.history(), run.summary
    (run.path / "summary.json").unlink()
    main(["--resume", str(run.path)])
    assert not differences(future(run.path), before)
    assert Run(run.path).history() == rows
    assert Run(run.path).summary == summary


def test_a_moved_run_goes_on(tmp_path: Path) -> None:
    small(tmp_path, "a", epochs=1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    resume(tmp_path / "b", epochs=2)
    assert [row["epoch"] for row in figures(tmp_path / "b")] == [1, 1, 2, 2]


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    """Each process takes half of a batch; the weights are the same."""
    flags = [*small_flags(tmp_path), "--devices", "2"]
    subprocess.run([sys.executable, "-m", "ppvae.fit", *flags], check=True, timeout=300)
    rows = Run(tmp_path / "run").history()
    assert [(r["epoch"], r["split"]) for r in rows] == [
        (1, "train"), (1, "valid"), (2, "train"), (2, "valid")
    ]  # fmt: skip
    assert all(bool(value.isfinite().all()) for value in weights(tmp_path / "run").values())
    state = checkpoint(tmp_path / "run")
    assert len(state["random"]) == 2
    assert not state["random"][0]["cpu"].equal(state["random"][1]["cpu"])
