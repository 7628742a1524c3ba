"""Divergence: what is said of a fit whose bound, gradient or weights are no longer numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ppvae.bounds.objective import Bound
from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair, streams
from ppvae.programs.failures import sentence_of, unfit_site

if TYPE_CHECKING:
    from ppvae.training.trainer import Trainer

__all__ = ["diverged", "explaining", "is_finite", "unfit"]

DRAWN = 20
"""Draws among which a site is looked for that is not always a number."""


@contextmanager
def explaining(trainer: "Trainer", batch: Batch | None = None) -> Iterator[None]:
    """Turn what a diverged network makes distributions complain of into what happened."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the programs are the user's, and may raise anything
        is_number = "nan" not in str(error) and "inf" not in str(error)
        if not is_finite(trainer.bound) or (isinstance(error, ValueError) and not is_number):
            raise diverged(trainer, unfit(trainer, batch)) from error
        when = f"in epoch {trainer.progress.epoch + 1}, at step {trainer.progress.step}"
        raise InputError(sentence_of(error, when)) from error


def unfit(
    trainer: "Trainer", batch: Batch | None, look: Callable[[Pair, Batch], str] = unfit_site
) -> str:
    """The site that is no number, where the weights are."""
    if batch is None or not is_finite(trainer.bound):
        return ""
    with streams.restored():
        if trainer.noise is not None:  # the very draws, where there is one a datum
            streams.set_state(trainer.device, trainer.noise)
        said = (look(trainer.bound.pair, batch) for _ in range(DRAWN))
        return next(filter(None, said), "a density overflowed")


def is_finite(bound: Bound) -> bool:
    """Whether every weight is a number."""
    return all(bool(p.isfinite().all()) for p in bound.parameters())


def diverged(trainer: "Trainer", said: str = "") -> InputError:
    """The error of a bound that is no longer finite.

    Args:
        trainer: whose.
        said: what is no number, where that is known.
    """
    clip = (
        "a smaller clip" if trainer.plan.clip else "clip, the largest norm of a gradient (say 10)"
    )
    bounded = ", bound what the network says of the site, or compute in `precision='64'`"
    return InputError(
        f"the bound is no longer finite in epoch {trainer.progress.epoch + 1}, at step "
        f"{trainer.progress.step}: {said or 'the weights diverged'}; take a smaller lr (now "
        f"{trainer.optimizer.param_groups[0]['lr']:g}) or {clip}{bounded if said else ''}"
    )
