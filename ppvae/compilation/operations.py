"""Floating-point operations of matrix products and convolutions, counted as they are called."""

from typing import Any, override

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):
    """A context that counts floating-point operations, by torch's formula for each product.

    Torch's own `FlopCounterMode` also counts by module. For that it hooks gradients of the inputs
    of a module, which parameters used as inputs, such as pseudo-inputs, do not have where no
    gradients are recorded.

    Attributes:
        count: operations so far; a multiplication and an addition count as two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:  # an affine map, for instance, is a product where no gradient is recorded
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.count += formula(*args, **kwargs, out_val=out)
        return out
