"""Values that are compared by what they are: plain ones, tensors, arrays, containers."""

from types import CodeType
from typing import Any

import torch
from torch import Tensor

SAMPLE = 4_096
"""Numbers of an array that are compared, evenly over it."""

PLAIN = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range,
        slice, CodeType, torch.dtype, torch.device, torch.layout, torch.memory_format,
    }
)  # fmt: skip


LONG = 10_000
"""Length above which a container is watched by its length, and no longer element by element."""


def equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two leaves are the same; two NaNs are."""
    if one is other:
        return True
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and bool(a == b or (a != a and b != b)))
        for a, b in zip(one, other, strict=True)
    )


def changed_key(one: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    """The attribute that one of two sets of attributes has more than the other, or ""."""
    if one[0] != "attributes" or other[0] != "attributes":
        return ""
    changed = [name for name in (*one[1], *other[1]) if (name in one[1]) != (name in other[1])]
    return f".{changed[0]}" if changed else ""


def numbers(value: Tensor) -> tuple[Any, ...]:
    """What tells a tensor from another: type, place, and numbers of it."""
    about = (value.shape, value.dtype, value.device)
    try:
        flat = value.detach().reshape(-1)
        flat = flat[:: max(1, len(flat) // SAMPLE)].cpu().contiguous()
        return *about, flat.view(torch.uint8).numpy().tobytes()
    except (RuntimeError, NotImplementedError, TypeError):  # sparse, or no numbers at all
        return *about, id(value)


def array(value: Any) -> tuple[Any, ...]:
    """The same of an array of NumPy's."""
    return value.shape, value.dtype, value.flat[:: max(1, value.size // SAMPLE)].tobytes()


def container(value: Any) -> tuple[Any, ...]:
    """The kind, the length and the plain keys or members of a container."""
    kind, is_long = type(value), len(value) > LONG
    if isinstance(value, dict) and not is_long:
        return kind, len(value), tuple(k if type(k) in PLAIN else type(k) for k in value)
    if isinstance(value, (set, frozenset)) and not is_long:
        return kind, len(value), frozenset(v for v in value if type(v) in PLAIN)
    return kind, len(value)
