"""Tracing of programs into graphs, during which the values of tensors cannot be read."""

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
    """Context in which `is_traced` is true."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)
