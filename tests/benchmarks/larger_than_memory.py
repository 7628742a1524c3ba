"""Table of a fit whose data stay on disk, compared with one that holds them in memory."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ppvae.programs.isolation import alone

from .bars import Bar
from .data import ROOT
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["GIB", "MEMORY", "SLOWER", "larger_than_memory"]

MEMORY = 4.0
"""Bar: GiB of anonymous memory of a fit, for a file of any size."""

SLOWER = 1 / 0.8
"""Bar: rows per second in memory over rows per second from a cached file."""

GIB = 10.0
"""Size of the file."""

COLUMNS = 784
_HELD = 0.5
"""GiB of the smaller file, which is held in memory for the comparison."""

_WARM_UP = 20


def larger_than_memory(plan: Plan, gib: float = GIB, folder: str | None = None) -> None:
    """Fit on a file that stays on disk and on one that is held in memory, in turn.

    Each fit is a process that opens the file, scans it, takes ``plan.steps`` steps of 128 rows from
    all over the file, and encodes ``plan.rows`` rows without samples. The scan leaves as much of
    the file in the system's cache as fits.
    """
    with TemporaryDirectory(dir=folder) as place, under_way() as report:
        whole, held = Path(place) / "whole.npy", Path(place) / "held.npy"
        report(f"writing {gib:g} GiB")
        _write(whole, gib)
        _write(held, min(gib, _HELD))
        files = {"on disk": (whole, 0.0), "in memory": (held, 2 * _HELD), "small": (held, 0.0)}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in files}
        for number in range(plan.rounds):
            for name, (file, memory) in files.items():
                report(f"round {number + 1} of {plan.rounds}, {name}")
                taken[name].append(_apart(file, memory, plan))
        table: list[dict[str, Any]] = [
            {
                "what": name,
                "gib": files[name][0].stat().st_size / 2**30,
                "look_seconds": median(each["look_seconds"] for each in figures),
                "rows_per_second": median(each["rows_per_second"] for each in figures),
                "own_gib": max(each["own_gib"] for each in figures),
                "rounds": plan.rounds,
            }
            for name, figures in taken.items()
        ]
    show(
        f"{COLUMNS} columns of float32, {plan.steps} steps of 128 rows, {plan.rounds} rounds",
        ("", "GiB", "seconds to scan", "rows per second", "peak anonymous GiB"),
        [
            (
                str(row["what"]), figure(float(row["gib"])), figure(float(row["look_seconds"])),
                figure(float(row["rows_per_second"]), 0), figure(float(row["own_gib"])),
            )
            for row in table
        ],
    )  # fmt: skip
    slower = median(
        one["rows_per_second"] / other["rows_per_second"]
        for one, other in zip(taken["in memory"], taken["on disk"], strict=True)
    )
    own = max(each["own_gib"] for each in taken["on disk"])
    bars = [
        Bar(f"peak anonymous GiB of a fit on {gib:g} GiB", MEMORY, own),
        Bar("rows per second, in memory / from a cached file", SLOWER, slower),
    ]
    publish(plan, table, bars, versions=versions("torch", "pyro"))


def _write(file: Path, gib: float) -> None:
    """Write normal data of eight factors plus noise, without holes in the file."""
    rows = max(1000, int(gib * 2**30) // (4 * COLUMNS))
    noise = np.random.default_rng(0)
    causes = noise.normal(size=(8, COLUMNS)).astype(np.float32)
    array = np.lib.format.open_memmap(file, "w+", np.float32, (rows, COLUMNS))
    for start in range(0, rows, 10_000):
        count = min(10_000, rows - start)
        codes = noise.standard_normal((count, 8), np.float32)
        array[start : start + count] = codes @ causes
        array[start : start + count] += noise.standard_normal((count, COLUMNS), np.float32)
    array.flush()


def _apart(file: Path, memory: float, plan: Plan) -> dict[str, float]:
    """Fit and encode in a fresh process."""
    command = [sys.executable, "-m", __name__, str(file), str(memory), str(plan.steps)]
    made = subprocess.run(
        [*command, str(plan.rows)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    figures: dict[str, float] = json.loads(made.stdout.splitlines()[-1])
    return figures


@contextmanager
def owned() -> Iterator[Callable[[], int]]:
    """Peak anonymous memory of this process in bytes, sampled fifty times per second."""
    peak, ended = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    peak = max(peak, int(line.split()[1]) * 1024)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield lambda: peak
    finally:
        ended.set()
        watch.join()


@alone
def fitted(file: Path, memory: float, steps: int, rows: int) -> dict[str, float]:
    """Scan the data, take some steps and encode some rows; return the timings."""
    import torch

    from ppvae.diagnostics.bound.embedding import embed
    from ppvae.settings import Settings
    from ppvae.training.chosen_parts import chosen_parts
    from ppvae.training.data_and_programs import meet_suited
    from ppvae.training.processes import Processes, launch
    from ppvae.training.setup import make_trainer

    settings = Settings(
        data=file, data_memory=memory, likelihood="Gaussian", compile="off", epochs=1
    )
    chosen = chosen_parts(settings)
    fabric = launch("cpu", "32", Processes(1, 1, None))
    started = time.perf_counter()
    meeting = meet_suited(settings, chosen)
    looked = time.perf_counter() - started
    trainer: Any = make_trainer(settings, chosen, meeting.pair, meeting.facts, meeting.data, fabric)
    times: list[float] = []
    most = _WARM_UP + steps
    for _ in trainer.epochs(
        stop=lambda: len(times) >= most, on_step=lambda: times.append(time.perf_counter())
    ):
        break
    times = times[min(_WARM_UP, len(times) // 2) :]
    valid = meeting.data.valid
    embed(meeting.pair, meeting.facts, valid, torch.arange(min(rows, len(valid))))
    return {
        "look_seconds": looked,
        "rows_per_second": settings.batch_size * (len(times) - 1) / (times[-1] - times[0]),
    }


def main() -> None:
    """Print the figures of one process."""
    file, memory, steps, rows = sys.argv[1:]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with owned() as peak:
        figures = fitted(Path(file), float(memory), int(steps), int(rows))
        time.sleep(0.05)
        print(json.dumps(figures | {"own_gib": peak() / 2**30}))


if __name__ == "__main__":
    main()
