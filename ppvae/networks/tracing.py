"""Whether a program is being traced into a graph: its tensors then hold no numbers to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_TRACED = ContextVar("traced", default=False)


def is_traced() -> bool:
    """Whether the calling program is being traced, by this package or by torch's compiler."""
    return _TRACED.get() or torch.compiler.is_compiling()


@contextmanager
def tracing() -> Iterator[None]:
    """What runs in this context is being traced."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)
