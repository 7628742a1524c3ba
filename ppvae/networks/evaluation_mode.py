"""Modes of modules: in evaluation there is no dropout, and no running mean that moves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate a pair or a bound: without gradients, in evaluation mode; as before afterwards."""
    with evaluation_mode(module), torch.no_grad():
        yield


@contextmanager
def evaluation_mode(*modules: object) -> Iterator[list[nn.Module]]:
    """Switch modules and their parts to evaluation; afterwards each is in the mode it had.

    Args and what is yielded: `modes_restored`.
    """
    with modes_restored(*modules) as parts:
        for part in parts:
            part.training = False
        yield parts


@contextmanager
def modes_restored(*modules: object) -> Iterator[list[nn.Module]]:
    """Leave modules and their parts in the modes that they are in now, training or evaluation.

    Args:
        modules: modules, or methods of them; anything else has no mode, and is left as it is.

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
