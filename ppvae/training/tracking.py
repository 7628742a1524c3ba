"""Experiment tracking: metrics of each epoch, and final results."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.errors import FitWarning
from ppvae.settings import MetricsLogger, Tracker
from ppvae.training.events import scalars

if TYPE_CHECKING:
    from ppvae.training.summary import Summary

FOLDER = "trackers"
"""The folder of a run for trackers by name, new each time a fit is resumed."""


class Tracking:
    """Sends metrics to a tracker, whose failure does not stop the fit.

    If it raises, a `FitWarning` says so, and it is no longer called.

    Args:
        tracker: an object with ``log(metrics, step)``, a logger of Fabric, the name of one, or
            None.
        folder: the run directory.
    """

    def __init__(self, tracker: "str | Tracker | MetricsLogger | None", folder: Path) -> None:
        self._name = tracker if isinstance(tracker, str) else type(tracker).__name__
        self._send: Callable[[Mapping[str, float], int], object] | None = None
        self._end: Callable[[], object] = lambda: None
        self._guarded(lambda: self._connect(tracker, folder), "could not start")

    def _connect(self, tracker: Any, folder: Path) -> None:
        if isinstance(tracker, str):
            logger = _logger(tracker, folder / FOLDER)
            self._send, self._end = logger.log_metrics, lambda: logger.finalize("success")
        elif isinstance(tracker, Tracker):
            self._send = tracker.log
        elif tracker is not None:
            self._send = tracker.log_metrics

    def epoch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log an epoch: the rows of ``metrics.csv`` as ``elbo/valid`` and so on."""
        self._tell({k: v for row in rows for k, v in scalars(row).items()}, rows[0]["step"])

    def summary(self, summary: "Summary") -> None:
        """Log the final results: ``elbo/test``, ``log_p/test`` and so on."""
        told = {
            "elbo": summary.figures.elbo, "reconstruction": summary.figures.reconstruction,
            "kl": summary.figures.kl, "log_p": summary.log_p,
            "effective_latents": summary.effective_latents, "bits_per_dim": summary.bits_per_dim,
        }  # fmt: skip
        self._tell({f"{k}/test": v for k, v in told.items() if v is not None}, summary.steps)

    def close(self) -> None:
        """Close a tracker that was opened by name; a given object stays open."""
        if self._send is not None:
            self._guarded(self._end, "could not end")

    def _tell(self, metrics: Mapping[str, float], step: int) -> None:
        send = self._send
        if send is not None:
            finite = {name: float(v) for name, v in metrics.items() if math.isfinite(v)}
            self._guarded(lambda: send(finite, step), f"failed at step {step}")

    def _guarded(self, do: Callable[[], object], what: str) -> None:
        try:
            do()
        except Exception as error:  # a user's code may raise anything, often because of a network
            self._send = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(". :")
            warnings.warn(
                f"the tracker {self._name} {what} ({reason}): the fit continues without it",
                FitWarning,
                stacklevel=2,
            )


def _logger(name: str, folder: Path) -> Any:
    """A logger of Fabric by name."""
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    if name == "csv":
        return CSVLogger(folder, name, flush_logs_every_n_steps=1)
    return TensorBoardLogger(folder, name)
