"""Programs called on trial: what they change by running is put back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ppvae.compilation.snapshot import Snapshot

__all__ = ["preserved"]


@contextmanager
def preserved(roots: Mapping[str, Any], *, counts: bool = False) -> Iterator[None]:
    """What some roots reach in Python, buffers included, is afterwards what it was.

    Args:
        roots: programs, or what is made of them, by name.
        counts: put back numbers and words alone, beside buffers: all the rest was made by a
            first call.
    """
    before = Snapshot(roots)
    tensors = _contents(before)
    places = _places(before.modules())
    try:
        yield
    finally:
        with torch.no_grad():
            for own, name, value in places:
                own[name] = value
            for tensor, content in tensors:
                if tensor.shape == content.shape and not torch.equal(tensor, content):
                    tensor.copy_(content)
        before.put_back(counts=counts)


def _places(modules: Sequence[nn.Module]) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Buffers, and tensors that are plain attributes, each with where it is."""
    return [
        (own, name, value)
        for module in modules
        for own in (module._buffers, vars(module))
        for name, value in own.items()
        if isinstance(value, Tensor) and not is_lazy(value)
    ]


def _contents(before: Snapshot) -> list[tuple[Tensor, Tensor]]:
    """Tensors that are no parameters, each with a copy of it."""
    found = [value for _, _, value in _places(before.modules())] + before.tensors()
    return [(value, value.detach().clone()) for value in found]
