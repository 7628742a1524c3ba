"""Checks of memory before it is allocated."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedParameter

from ppvae.compilation.allocations import Allocations
from ppvae.data.free_memory import free_memory
from ppvae.errors import InputError

TRAINING = 4
"""Memory of a trained weight, in weights: itself, its gradient, and Adam's two moments."""

TENSORS = 20_000
"""Limit for weight tensors, above any common network; ResNets of a thousand layers have 3,000."""

LARGEST = 2**63 - 1
"""The largest size that torch accepts."""

CALLS = 100_000
"""Limit for tensors made by a constructor."""


def check_memory(size: int, setting: str, device: torch.device | str = "cpu") -> None:
    """Refuse an allocation of more memory than is free.

    Args:
        size: bytes needed, at least.
        setting: the setting that causes it, with its value.
        device: where it is allocated.

    Raises:
        InputError: with both sizes.
    """
    free = free_memory(device)
    if size > free:
        raise InputError(
            f"{setting} would take at least {_in_words(size)} of memory, and {_in_words(free)} "
            "are free; make it smaller"
        )


def _in_words(size: int) -> str:
    for power, unit in ((5, "PB"), (4, "TB"), (3, "GB"), (2, "MB")):
        if size >= 1000**power:
            return f"{size / 1000**power:,.1f} {unit}"
    return f"{size / 1000:,.1f} kB"


@contextmanager
def sizes_checked(settings: Mapping[str, Any], copies: int = 1) -> Iterator[None]:
    """Check the size of each tensor before it is made, and of all weights together.

    Args:
        settings: numbers that determine the sizes, by name; errors name the largest.
        copies: how often a weight will be in memory: `TRAINING` times if it is trained.

    Raises:
        InputError: with the size, the free memory, and the setting.
    """
    numbers = {name: _largest(value) for name, value in settings.items()}
    name, value = max(numbers.items(), key=lambda pair: pair[1])
    blamed = f"{name} is {value}"
    if value > LARGEST:
        raise InputError(f"{blamed}; a size is at most 2**63 - 1")
    sizes = _Sizes(blamed, copies)
    handle = register_module_parameter_registration_hook(sizes.add)
    try:
        with Allocations(sizes.make):
            yield
    finally:
        handle.remove()


def _largest(value: Any) -> int:
    """The largest whole number in an argument."""
    if isinstance(value, Mapping):
        return max(map(_largest, value.values()), default=0)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return max(map(_largest, value), default=0)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


class _Sizes:
    """Counts tensors before they are made, and the bytes of weights."""

    def __init__(self, blamed: str, copies: int) -> None:
        self._blamed, self._copies = blamed, copies
        self._free = free_memory()
        self._count = self._calls = self._weights = 0

    def add(self, _module: nn.Module, _name: str, weight: Any) -> None:
        """Count a weight that was registered in a module."""
        if weight is None or isinstance(weight, UninitializedParameter):
            return
        self._count += 1
        self._weights += weight.numel() * weight.element_size()
        self._check(0)
        self._check_count(self._count, TENSORS)

    def make(self, size: int) -> None:
        """Count a tensor that is about to be made, of this many bytes."""
        self._check(size)
        self._calls += 1
        self._check_count(self._calls, CALLS)

    def _check_count(self, count: int, most: int) -> None:
        if count > most:
            raise InputError(
                f"{self._blamed}, which makes more than {most:,} tensors; make it smaller"
            )

    def _check(self, size: int) -> None:
        needed = (self._weights + size) * self._copies
        if needed > self._free:
            raise InputError(
                f"{self._blamed}: the weights would take at least {_in_words(needed)} of memory, "
                f"and {_in_words(self._free)} are free; make it smaller"
            )
