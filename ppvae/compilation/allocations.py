"""A context that sees the sizes of tensors before their memory is allocated."""

import math
from collections.abc import Callable
from typing import Any, override

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_LENGTHS = frozenset({"aten::arange", "aten::randperm", "aten::eye"})
"""Operations whose output has at least as many elements as their largest argument."""

_VIEWS = frozenset({"aten::expand", "aten::view", "aten::_unsafe_view", "aten::as_strided"})


class Allocations(TorchDispatchMode):
    """A context in which ``on_size`` is called with the bytes of each tensor before it is made.

    If ``on_size`` raises, the tensor is not made.
    """

    def __init__(self, on_size: Callable[[int], None]) -> None:
        super().__init__()
        self._on_size = on_size

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        if schema.name in _LENGTHS:
            self._on_size(int(max(args)) * 8)
        elif schema.name not in _VIEWS:
            for i, argument in enumerate(schema.arguments):
                if argument.name == "size" and i < len(args):
                    self._on_size(math.prod(args[i]) * _bytes(kwargs.get("dtype")))
        return func(*args, **kwargs)


def _bytes(dtype: torch.dtype | None) -> int:
    return (dtype or torch.get_default_dtype()).itemsize
