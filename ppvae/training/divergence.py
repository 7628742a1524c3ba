"""Errors for a fit whose bound, gradient or weights are no longer finite."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ppvae.bounds.objective import Bound
from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair, streams
from ppvae.programs.failures import of_some_draws, sentence_of, unfit_site
from ppvae.settings import Settings
from ppvae.training.progress import Progress

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric


class Climb(Protocol):
    """A running fit, such as `ppvae.training.trainer.Trainer`."""

    bound: Bound
    optimizer: Optimizer
    schedule: LRScheduler | None
    plan: Settings
    progress: Progress
    fabric: "Fabric"
    noise: dict[str, Tensor | None] | None


@contextmanager
def explaining(climb: Climb, batch: Batch | None = None) -> Iterator[None]:
    """Turn errors of distributions after a divergence into an explanation."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's programs may raise anything
        is_of_number = "nan" in str(error) or "inf" in str(error)
        is_unfit = isinstance(error, ValueError) and is_of_number
        if is_unfit or not all_finite(climb.bound.parameters()):
            raise diverged(climb, unfit(climb, batch)) from error
        when = f"in epoch {climb.progress.epoch + 1}, at step {climb.progress.step}"
        raise InputError(sentence_of(error, when)) from error


def unfit(
    climb: Climb, batch: Batch | None, look: Callable[[Pair, Batch], str] = unfit_site
) -> str:
    """The site that is not finite at the current weights."""
    if batch is None or not all_finite(climb.bound.parameters()):
        return ""
    with streams.restored():
        if climb.noise is not None:  # the same draws, with one per datum
            streams.set_state(climb.fabric.device, climb.noise)
        said = of_some_draws(lambda: look(climb.bound.pair, batch))
        return said or "a density overflowed"


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers in some tensors, weights or gradients, are finite."""
    tensors = [tensor.detach() for tensor in tensors]
    # A fast test: a sum is finite only if its terms are; if it is not, it may have overflowed.
    total = sum(tensor.sum() for tensor in tensors)
    return math.isfinite(total) or all(bool(tensor.isfinite().all()) for tensor in tensors)


def diverged(climb: Climb, said: str = "") -> InputError:
    """The error for a bound that is no longer finite; ``said``: what is not finite, if known."""
    clip = (
        "a smaller clip" if climb.plan.clip else "clip, the maximum norm of a gradient (such as 10)"
    )
    bounded = ", bound the network output for the site, or use `precision='64'`"
    return InputError(
        f"the bound is no longer finite in epoch {climb.progress.epoch + 1}, at step "
        f"{climb.progress.step}: {said or 'the weights diverged'}; take a smaller lr (now "
        f"{climb.optimizer.param_groups[0]['lr']:g}) or {clip}{bounded if said else ''}"
    )
