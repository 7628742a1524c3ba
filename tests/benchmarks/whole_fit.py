"""Table of the seconds of a whole fit by part, from the command to the report."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import Any
from unittest.mock import patch

import psutil

from .bars import Bar
from .data import ROOT
from .data import folder as data_folder
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["whole_fit"]

MOST, SHARE = 10.0, 0.10
"""Bars: seconds of the default fit; those of evaluations and checkpoints over those of steps."""

PARTS = "start", "steps", "evaluation", "end", "whole"
"""Up to the first step; steps; evaluations, checkpoints and tables; figures and report; in all."""


def whole_fit(plan: Plan, fits: dict[str, Sequence[str]] | None = None) -> None:
    """Fit by the command's own function in a fresh process, a row per fit and round.

    Every epoch counts as the median one, so compiling is not part of the steps.
    """
    mnist = ("--data", "mnist", "--data-dir", str(data_folder()), "--binarize", "dynamic")
    fits = fits or {"default": (), "mnist": (*mnist, "--epochs", "4", "--compile", "on")}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, under_way() as report:
        for number in range(plan.rounds):
            for name, flags in fits.items():
                report(f"{name}, round {number + 1} of {plan.rounds}")
                seconds = _child([*flags, "--out", f"{folder}/{name}-{number}"])
                share = seconds["evaluation"] / seconds["steps"]
                rows.append({"fit": name} | seconds | {"evaluation_to_steps": share})
    shown = [
        (row["fit"], *(figure(row[part]) for part in PARTS), figure(row["evaluation_to_steps"]))
        for row in rows
    ]
    show("seconds of a fit", ("", *PARTS, "evaluation / steps"), shown)
    medians = {
        name: {
            k: median(row[k] for row in rows if row["fit"] == name) for k in rows[0] if k != "fit"
        }
        for name in fits
    }
    bars = [Bar(f"seconds of a {name} fit", MOST, of["whole"])
            for name, of in medians.items() if name == "default"]  # fmt: skip
    bars += [
        Bar(f"evaluations and checkpoints / steps, {name}", SHARE, of["evaluation_to_steps"])
        for name, of in medians.items()
    ]
    publish(plan, rows, bars, versions=versions("torch", "pyro"))


def _child(flags: Sequence[str]) -> dict[str, float]:
    """Seconds of each part, in a fresh process like that of the command."""
    command = [sys.executable, "-m", "tests.benchmarks.whole_fit", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def timed(flags: Sequence[str]) -> dict[str, float]:
    """Fit, and return the seconds of each part."""
    from ppvae import fit
    from ppvae.training.trainer import Trainer

    training: list[float] = []
    epochs: list[float] = []
    begun = psutil.Process().create_time()
    with _clocked(fit, "train", training), _clocked(Trainer, "_epoch", epochs):
        fit.main(flags)
    whole, trained = time.time() - begun, training[1] - training[0]
    ran = [end - start for start, end in zip(epochs[::2], epochs[1::2], strict=True)]
    return {
        "start": training[0] - begun,
        "steps": len(ran) * median(ran),
        "evaluation": trained - sum(ran),
        "end": time.time() - training[1],
        "whole": whole,
    }


def _clocked(home: Any, name: str, times: list[float]) -> AbstractContextManager[Any]:
    """Patch a function to append the times of its start and end to ``times``."""
    real: Callable[..., Any] = getattr(home, name)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        times.append(time.time())
        result = real(*args, **kwargs)
        times.append(time.time())
        return result

    return patch.object(home, name, clocked)


if __name__ == "__main__":
    print(json.dumps(timed(sys.argv[1:])))
