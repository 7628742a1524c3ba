"""Opening a run: build its programs, and warn of problems of its fit."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from ppvae.errors import FitWarning
from ppvae.programs import Program
from ppvae.programs.isolation import alone
from ppvae.run.run import Run


@alone
def load(
    path: str | Path,
    *,
    trust: Iterable[str] = (),
    checkpoint: str | None = None,
    model: Program | None = None,
    guide: Program | None = None,
) -> Run:
    """Open a run directory; see `Run` for the arguments and errors.

    A `ppvae.errors.FitWarning` is given for a fit that diverged, whose bound was still rising
    steeply at its end, or that is worse than independent elements.

    Example::

        run = ppvae.load("runs/digits")
        z = run.guide(run.data().test.take(torch.arange(8))["x"])
    """
    return opened(Run(path, trust=trust, checkpoint=checkpoint, model=model, guide=guide))


def opened[R: Run](run: R) -> R:
    """The run, with its programs built and warnings of its problems."""
    _ = run.pair  # raise errors here, not at first use
    for sentence in run.warnings:
        warnings.warn(f"{run.path}: {sentence}", FitWarning, stacklevel=4)
    return run
