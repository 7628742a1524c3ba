"""The third table: what an epoch of ``ppvae.fit`` takes beyond its steps."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from .bars import verdict
from .machine import machine
from .table import figure, say, show, write

__all__ = ["epoch"]

MOST = 1.10
"""An epoch, its evaluation excluded, is to take at most so many times its steps."""

_ALONE = 200


def epoch(epochs: int, out: Path) -> None:
    """Fit MNIST, binarized anew in each batch, by the command's own function; print and write.

    After each epoch but the first, which compiles, the same step is taken alone for a while: the
    two are compared within a phase of the machine. Those steps move the weights, which matters to
    no timing.
    """
    from ppvae.fit import fit
    from ppvae.svi import SVI

    rows: list[dict[str, Any]] = []
    real: Callable[..., bool] = SVI._epoch

    def timed(self: SVI, *hooks: Any) -> bool:
        started = time.perf_counter()
        whole = real(self, *hooks)
        seconds = time.perf_counter() - started
        if self.progress.epoch > 0:
            rows.append({"epoch_seconds": seconds, "steps": self.steps_per_epoch} | _alone(self))
        return whole

    with tempfile.TemporaryDirectory() as folder, patch.object(SVI, "_epoch", timed):
        fit(
            data="mnist", binarize="dynamic", epochs=epochs, compile="on", device="cpu",
            out=Path(folder) / "run",
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
    show("an epoch of MNIST", ("epoch", "seconds", "steps", "ms/step alone", "ratio"), shown)
    reached = median(row["ratio"] for row in rows)
    say(f"median ratio {reached:.2f}, at most {MOST:.2f}: {verdict(reached, MOST)}")
    where = machine("cpu", [])
    say(f"machine: {where}\nversions: torch {torch.__version__}")
    write(out, [row | {"machine": where, "torch": torch.__version__} for row in rows])


def _alone(loop: Any) -> dict[str, float]:
    """The loop's own step on one batch, again and again."""
    feed = next(iter(loop.train.feed([torch.arange(loop._rows)], device=loop.device)))
    sums = torch.zeros_like(loop._sums)
    started = time.perf_counter()
    for _ in range(_ALONE):
        loop._step(feed, 1.0, sums)
    return {"step_seconds": (time.perf_counter() - started) / _ALONE}
