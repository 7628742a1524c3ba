"""Evaluation mode of modules: no dropout, and fixed running means."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate a pair or a bound: without gradients, in evaluation mode; restored afterwards."""
    with evaluation_mode(module), torch.no_grad():
        yield


@contextmanager
def evaluation_mode(*modules: object) -> Iterator[list[nn.Module]]:
    """Switch modules and their parts to evaluation; each gets its mode back afterwards.

    For arguments and yields see `modes_restored`.
    """
    with modes_restored(*modules) as parts:
        for part in parts:
            part.training = False
        yield parts


@contextmanager
def modes_restored(*modules: object) -> Iterator[list[nn.Module]]:
    """Restore the current modes of modules and their parts, training or evaluation, at the end.

    Args:
        modules: modules, or methods of them; anything else has no mode and is ignored.

    Yields:
        the parts of all of them.
    """
    owners = [getattr(module, "__self__", module) for module in modules]
    parts = [p for owner in owners if isinstance(owner, nn.Module) for p in owner.modules()]
    modes = [part.training for part in parts]
    try:
        yield parts
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
