"""The course of a fit: steps, and what is written down of each epoch."""

import signal
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch

from ppvae.data import Data
from ppvae.programs import Program
from ppvae.run import Run
from ppvae.run.store import WriteError
from ppvae.training.ranks import ranks

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from ppvae.training.collapse_alarm import LatentUse
    from ppvae.training.trainer import Epoch, Trainer

__all__ = ["say_once", "train"]


def train(
    run: Run,
    loop: "Trainer",
    data: Data,
    fabric: "Fabric",
    programs: tuple[Program, Program],
    trust: Sequence[str],
    labels: torch.Tensor | None,
) -> Run:
    """Climb, writing down each epoch; then evaluate the best weights, draw, and report.

    Once the checkpoint is written, SIGINT ends in ``KeyboardInterrupt``, and SIGTERM in
    ``SystemExit(143)``.

    Raises:
        WriteError: if the disk takes no more, with what is there to go on from.
    """
    if not fabric.is_global_zero:
        return _train(run, loop, data, fabric, programs, trust, labels)
    with run.writing():
        try:
            return _train(run, loop, data, fabric, programs, trust, labels)
        except WriteError as error:
            done = Run(run.path, checkpoint="last").checkpoint
            raise error.but(
                f"the fit is whole up to {done}: make room, and go on with --resume {run.path}"
            ) from error


def _train(
    run: Run,
    loop: "Trainer",
    data: Data,
    fabric: "Fabric",
    programs: tuple[Program, Program],
    trust: Sequence[str],
    labels: torch.Tensor | None,
) -> Run:
    from ppvae.cli.terminal import EpochBar
    from ppvae.report.conclusion import conclude
    from ppvae.training.collapse_alarm import CollapseAlarm
    from ppvae.training.events import Events
    from ppvae.training.signals import Signals

    ranks.way_out = f"go on with --resume {run.path}"
    events = (
        Events(run.path, loop.progress.step)
        if run.config["tensorboard"] and fabric.is_global_zero
        else None
    )
    quiet = not fabric.is_global_zero
    bar = EpochBar(loop.plan.epochs, loop.steps_per_epoch, loop.progress.step, quiet=quiet)
    alarm = CollapseAlarm(loop, run.metrics() if fabric.is_global_zero else [])

    def stepped() -> None:
        bar.step()
        while loop.notes:
            say_once(fabric, f"note: {loop.notes.pop(0)}")

    with Signals() as signals:
        with bar:
            for epoch in loop.epochs(signals.received, stepped, bar.compiling):
                state = loop.state()
                if fabric.is_global_zero:
                    use = alarm(epoch.valid.kl)
                    bar.epoch(epoch, use.alarm)
                    rows = _rows(epoch, use)
                    run.append(rows)
                    if events is not None:
                        events.add(rows)
                    run.save(state, is_best=epoch.is_best)
        if not loop.is_done:
            state = loop.state()
            if fabric.is_global_zero:
                run.save(state)
                say_once(
                    fabric,
                    f"stopped after {loop.progress.step} steps; go on with --resume {run.path}",
                )
            # Any process may have had the signal; all stop in the same way.
            numbers = fabric.all_reduce(torch.tensor(signals.number), reduce_op="max")
            number = int(cast("torch.Tensor", numbers))
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + (number or signal.SIGTERM))
    if loop.stopped:
        say_once(fabric, f"stopped early: {loop.stopped}")
    fabric.barrier()  # the best weights are written
    # What was fitted is not made anew: who goes on with the run goes on with these very programs.
    fitted = Run(run.path, trust=trust, model=programs[0], guide=programs[1])
    fitted.hold(loop.bound.pair, loop.bound.audit)
    if fabric.is_global_zero:
        conclude(fitted, loop, data, labels)
    fabric.barrier()
    return fitted


def _rows(epoch: "Epoch", use: "LatentUse") -> list[dict[str, Any]]:
    """An epoch as rows of ``metrics.csv``."""
    common = {
        "epoch": epoch.epoch, "step": epoch.step, "seconds": round(epoch.seconds, 3),
        "beta": epoch.beta, "lr": epoch.lr, "active_units": None, "alarm": None,
    }  # fmt: skip
    held_out = {"active_units": use.active_units, "alarm": use.alarm or None}
    return [
        common | {"split": "train"} | asdict(epoch.train),
        common | {"split": "valid"} | asdict(epoch.valid) | held_out,
    ]


def say_once(fabric: "Fabric", sentence: str) -> None:
    """Say a sentence, in one process of all."""
    from ppvae.cli.terminal import say

    if fabric.is_global_zero:
        say(sentence)
