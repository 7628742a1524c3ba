"""Table of a fit in one and in two processes, with estimates for several machines.

In a step, each of N processes computes on its share of the batch, and then all sum their gradients.
In a ring, each process sends and receives 2 (N - 1) / N times their bytes in 2 (N - 1) messages.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from .bars import Bar
from .data import ROOT
from .data import folder as data_folder
from .machine import versions
from .plan import Plan
from .table import figure, publish, show

__all__ = ["BATCHES", "MOST", "NETWORKS", "best_count", "processes", "step"]

MOST = 1.15
"""Bar: a step of two processes over the same work in two that exchange nothing, largest batch.

Two cores seldom do twice the work of one. The ratio excludes that, and measures the exchange.
"""

ALONE, TOGETHER, APART = "one", "two", "two that exchange nothing"
BATCHES = (128, 1024)

NETWORKS: Mapping[str, tuple[float, float]] = {
    "1 Gbit/s": (1.25e8, 1e-4), "10 Gbit/s": (1.25e9, 5e-5), "100 Gbit/s": (1.25e10, 2e-5),
}  # fmt: skip
"""Bytes per second, and seconds per message."""

MACHINES = (1, 2, 4, 8, 16, 32, 64)

_EPOCHS = 3


def processes(plan: Plan, data: str = "mnist") -> None:
    """Fit in one and in two processes, and estimate the step on more machines."""
    rows, bars = _measured(plan, data)
    publish(plan, [*rows, *_on_paper(rows)], bars, versions=versions("torch", "pyro"))


def _measured(plan: Plan, data: str) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Rows per second by number of processes and batch size; each fit in fresh processes."""
    rows: list[dict[str, Any]] = []
    for batch in BATCHES:
        for what in (ALONE, TOGETHER, APART):
            found = [_fits(what, batch, data) for _ in range(plan.rounds)]
            seconds = median(each["seconds_per_step"] for each in found)
            parameters = found[0]["parameters"]
            rows.append(
                {
                    "processes": what, "batch": batch, "rows_per_second": batch / seconds,
                    "ms_per_step": seconds * 1e3, "parameters": parameters,
                    "megabytes_per_step": 4e-6 * parameters if what == TOGETHER else 0.0,
                }
            )  # fmt: skip
    header = ("processes", "batch", "rows/s", "ms/step", "MB sent and received by each")
    show(
        f"rows per second of a fit of {data}, uncompiled, one thread per process",
        header,
        [
            (
                row["processes"], str(row["batch"]), figure(row["rows_per_second"], 0),
                figure(row["ms_per_step"]), figure(row["megabytes_per_step"], 1),
            )
            for row in rows
        ],
    )  # fmt: skip
    last = {row["processes"]: row["ms_per_step"] for row in rows if row["batch"] == BATCHES[-1]}
    bar = f"a step of {BATCHES[-1]} rows in two processes / in two that exchange nothing"
    return rows, [Bar(bar, MOST, last[TOGETHER] / last[APART])]


def _on_paper(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Estimated milliseconds of a step by number of machines, from those of one process."""
    alone = [row for row in rows if row["processes"] == ALONE]
    told = [
        {"network": name, "batch": row["batch"], "best_machines": best_count(row, speed, delay)}
        | {
            f"ms_on_{n}": 1e3 * step(row["ms_per_step"] / 1e3, row["parameters"], speed, delay, n)
            for n in MACHINES
        }
        for row in alone
        for name, (speed, delay) in NETWORKS.items()
    ]
    show(
        "estimated ms per step by number of machines, one process each, which share the batch",
        ("network", "batch", *map(str, MACHINES), "fastest on"),
        [
            (
                row["network"], str(row["batch"]), *(figure(row[f"ms_on_{n}"]) for n in MACHINES),
                str(row["best_machines"]),
            )
            for row in told
        ],
    )  # fmt: skip
    return told


def step(alone: float, parameters: int, speed: float, delay: float, machines: int) -> float:
    """Seconds of a step: a share of the computation, then a ring that sums the gradients.

    Args:
        alone: seconds of the whole batch in one process.
        parameters: number of parameters, of 4 bytes each.
        speed: bytes per second of the network.
        delay: seconds per message.
        machines: number of machines that share the batch.
    """
    messages = 2 * (machines - 1)
    return alone / machines + messages * (4 * parameters / machines / speed + delay)


def best_count(row: Mapping[str, Any], speed: float, delay: float) -> int:
    """The number of machines, up to 1,024, on which a step is fastest."""
    alone, parameters = row["ms_per_step"] / 1e3, row["parameters"]
    return min(range(1, 1025), key=lambda n: step(alone, parameters, speed, delay, n))


def _fits(what: str, batch: int, data: str) -> dict[str, float]:
    """A fit in one or two processes, or the slower of two simultaneous fits of half the batch."""
    if what != APART:
        return _fit(1 if what == ALONE else 2, batch, data)
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda _: _fit(1, batch // 2, data), range(2))
        return max(both, key=lambda each: each["seconds_per_step"])


def _fit(count: int, batch: int, data: str) -> dict[str, float]:
    """Fit in fresh processes, and read the timings from the run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [
            "--data", data, "--batch-size", str(batch), "--epochs", str(_EPOCHS), "--device", "cpu",
            "--compile", "off", "--threads", "1", "--evaluate-every", str(_EPOCHS),
            "--devices", str(count), "--oversubscribe", "--out", str(out),
        ]  # fmt: skip
        if data == "mnist":
            words += ["--binarize", "dynamic", "--data-dir", str(data_folder())]
        subprocess.run(
            [sys.executable, "-m", "ppvae.fit", *words], cwd=ROOT, check=True, capture_output=True
        )
        return timed(out)


def timed(run: Path) -> dict[str, float]:
    """Seconds per step, without the first epoch and the last, which is evaluated."""
    from ppvae.run import Run

    fit = Run(run)
    rows = [row for row in fit.history() if row["split"] == "train"]
    begin, end = rows[0], rows[-2]
    taken = (end["seconds"] - begin["seconds"]) / (end["step"] - begin["step"])
    return {"seconds_per_step": taken, "parameters": fit.resolved["parameters"]}
