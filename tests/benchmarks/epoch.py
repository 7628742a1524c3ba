"""Table of the overhead of an epoch of ``ppvae.fit`` over its steps."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from .bars import Bar
from .data import folder as data_folder
from .machine import versions
from .plan import Plan
from .table import figure, publish, show

__all__ = ["epoch"]

MOST = 1.10
"""Bar: seconds of an epoch, its evaluation excluded, over the seconds of its steps."""

_ALONE = 300


def epoch(plan: Plan, data: str = "mnist", **settings: Any) -> None:
    """Fit images, binarized anew in each batch, by the command's own function, an epoch per round.

    The first epoch compiles and is not timed. Before and after each other epoch the same step is
    timed alone on random batches, so that the comparison is not affected by a drift of the machine.
    These steps change the weights, which does not change the timings.
    """
    from ppvae.fit import fit
    from ppvae.training.trainer import Trainer

    rows: list[dict[str, Any]] = []
    real: Callable[..., bool] = Trainer._epoch

    def timed(self: Trainer, *hooks: Any) -> bool:
        if self.progress.epoch == 0:
            return real(self, *hooks)
        before = _alone(self)
        started = time.perf_counter()
        whole = real(self, *hooks)
        seconds = time.perf_counter() - started
        step = (before + _alone(self)) / 2
        rows.append({"epoch_seconds": seconds, "steps": self.steps_per_epoch, "step_seconds": step})
        return whole

    with tempfile.TemporaryDirectory() as folder, patch.object(Trainer, "_epoch", timed):
        fit(
            data=data, data_dir=data_folder(), binarize="dynamic", epochs=plan.rounds,
            compile="on", device="cpu", out=Path(folder) / "run", **settings,
        )  # fmt: skip
    for row in rows:
        row["ratio"] = row["epoch_seconds"] / (row["steps"] * row["step_seconds"])
    shown = [
        (
            str(i + 2), figure(row["epoch_seconds"]), str(row["steps"]),
            figure(row["step_seconds"] * 1e3), figure(row["ratio"]),
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip
    show(f"an epoch of {data}", ("epoch", "seconds", "steps", "ms/step alone", "ratio"), shown)
    reached = median(row["ratio"] for row in rows)
    bar = Bar("an epoch without its evaluation / its steps, the median", MOST, reached)
    publish(plan, rows, [bar], versions=versions("torch", "pyro"))


def _alone(loop: Any) -> float:
    """Seconds of a step of the loop."""
    order = torch.randperm(len(loop.train)).split(loop._rows)[:-1][:_ALONE]
    feeds = list(loop.train.feed(order, device=loop.device))
    sums = torch.zeros_like(loop._sums)
    started = time.perf_counter()
    for feed in feeds:
        loop._step(feed, 1.0, sums)
    return (time.perf_counter() - started) / len(feeds)
