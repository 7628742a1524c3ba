"""Values that are compared by content: plain ones, tensors, arrays, containers."""

from types import CodeType
from typing import Any

import torch
from torch import Tensor

SAMPLE = 4_096
"""Number of elements of an array that are compared, evenly spaced."""

PLAIN = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range,
        slice, CodeType, torch.dtype, torch.device, torch.layout, torch.memory_format,
    }
)  # fmt: skip


LONG = 10_000
"""Length above which only the length of a container is watched, not its elements."""


def equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two leaves are equal; two NaNs are."""
    if one is other:
        return True
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and bool(a == b or (a != a and b != b)))
        for a, b in zip(one, other, strict=True)
    )


def changed_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    """The attribute that only one of two sets of attributes has, or ""."""
    if one[0] != "attributes" or other[0] != "attributes":
        return ""
    changed = [name for name in (*one[1], *other[1]) if (name in one[1]) != (name in other[1])]
    return f".{changed[0]}" if changed else ""


def numbers(value: Tensor) -> tuple[Any, ...]:
    """The content of a tensor: type, device, and some of its elements."""
    about = (value.shape, value.dtype, value.device)
    try:
        flat = value.detach().reshape(-1)
        flat = flat[:: max(1, len(flat) // SAMPLE)].cpu().contiguous()
        return *about, flat.view(torch.uint8).numpy().tobytes()
    except (RuntimeError, NotImplementedError, TypeError):  # sparse, or without values
        return *about, id(value)


def array(value: Any) -> tuple[Any, ...]:
    """The same for a NumPy array."""
    return value.shape, value.dtype, value.flat[:: max(1, value.size // SAMPLE)].tobytes()


def container(value: Any) -> tuple[Any, ...]:
    """The kind, the length and the plain keys or members of a container."""
    kind, is_long = type(value), len(value) > LONG
    if isinstance(value, dict) and not is_long:
        return kind, len(value), tuple(k if type(k) in PLAIN else type(k) for k in value)
    if isinstance(value, (set, frozenset)) and not is_long:
        return kind, len(value), frozenset(v for v in value if type(v) in PLAIN)
    return kind, len(value)
