"""Training with records: metrics and checkpoints of each epoch."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch

from ppvae.run import Run
from ppvae.run.store import WriteError
from ppvae.training.collapse_alarm import CollapseAlarm, LatentUse
from ppvae.training.events import Events
from ppvae.training.signals import Signals
from ppvae.training.tracking import Tracking

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.training.trainer import Epoch, Trainer


@contextmanager
def writing_fit(run: Run) -> Iterator[None]:
    """Lock a run for writing; the error of a full disk says how to resume."""
    with run.writing():
        try:
            yield
        except WriteError as error:
            if run.home is not None:
                raise error.but("the run is lost: give `out`, a folder with room") from error
            done = Run(run.path, checkpoint="last").checkpoint
            raise error.but(
                f"the fit is saved up to {done}: free disk space, and resume with "
                f"`resume({str(run.path)!r})`"
            ) from error


def train(
    run: Run,
    trainer: "Trainer",
    fabric: "Fabric",
    *,
    on_step: Callable[[], None],
    on_compile: Callable[[float | None], None],
    on_epoch: Callable[["Epoch", str], None],
    tracking: Tracking,
) -> int:
    """Train, and record each epoch in the run, with a checkpoint at each evaluation.

    Args:
        run: the run, for ``metrics.csv``, events and checkpoints; written by the first process
            only.
        trainer: the trainer.
        fabric: the processes.
        on_step: called after each step.
        on_compile: called with ``None`` before a step that is compiled, and after it with the
            compile time of this fit in seconds.
        on_epoch: called after each epoch, with the alarm of a collapsed posterior, or ``""``.
        tracking: logs each epoch, in the first process only.

    Returns:
        The signal that asked to stop, after a checkpoint is written; 0: the fit is done.

    Raises:
        WriteError: if the disk is full.
    """
    is_first = fabric.is_global_zero
    has_events = run.config["tensorboard"] and is_first
    events = Events(run.path, trainer.progress.step) if has_events else None
    alarm = CollapseAlarm(trainer, run.history() if is_first else [])
    with Signals() as signals:
        for epoch in trainer.epochs(signals.received, on_step, on_compile):
            use, state = LatentUse(None, ""), None
            if epoch.valid is not None:
                if is_first:
                    use = alarm(epoch.valid.kl)
                state = trainer.state()  # which all processes gather
            if is_first:
                on_epoch(epoch, use.alarm)
                rows = _rows(epoch, use)
                run.append(rows)
                if events is not None:
                    events.add(rows)
                tracking.epoch(rows)
                if state is not None:
                    run.save(state, is_best=epoch.is_best)
        if trainer.is_done:
            return 0
        state = trainer.state()
        if is_first:
            run.save(state)
        # Any process may have received the signal; all stop together.
        numbers = fabric.all_reduce(torch.tensor(signals.number), reduce_op="max")
        return int(cast("torch.Tensor", numbers)) or signal.SIGTERM


def _rows(epoch: "Epoch", use: LatentUse) -> list[dict[str, Any]]:
    """An epoch as rows of ``metrics.csv``."""
    common = {
        "epoch": epoch.epoch, "step": epoch.step, "seconds": round(epoch.seconds, 3),
        "beta": epoch.beta, "lr": epoch.lr, "active_units": None, "alarm": None,
    }  # fmt: skip
    rows = [common | {"split": "train"} | asdict(epoch.train)]
    if epoch.valid is not None:
        held_out = {"active_units": use.active_units, "alarm": use.alarm or None}
        rows.append(common | {"split": "valid"} | asdict(epoch.valid) | held_out)
    return rows
