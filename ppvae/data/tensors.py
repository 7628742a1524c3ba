"""NumPy arrays as tensors, with the types and axes of this package."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.errors import InputError

LARGEST_COUNT = 2**24
"""float32 holds every whole number up to here, but not the next one."""


def as_tensor(x: NDArray[Any], *, is_own: bool = False) -> tuple[Tensor, str | None]:
    """Return ``x`` channels first, as bytes, truth values, int64, float32 or float64; and a note.

    The note is about the axes. An array of the caller's own is copied only if necessary.
    """
    note = None
    match x.ndim:
        case 1 | 3:
            x = x[:, None]
        case 4:
            is_first, note = channels_first(x.shape)
            x = x if is_first else x.transpose(0, 3, 1, 2)
    if x.dtype.kind == "f":
        x = x.astype(np.float64 if x.dtype.itemsize >= 8 else np.float32, copy=False)
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        if x.dtype.kind == "u" and x.dtype.itemsize == 8:  # int64 would make it negative
            x = np.minimum(x, np.iinfo(np.int64).max)
        x = x.astype(np.int64, copy=False)
    # A separate copy: read-only memory and negative strides cannot be a tensor.
    may_stay = is_own and x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative
    return torch.from_numpy(x if may_stay else np.array(x, order="C")), note


def channels_first(shape: tuple[int, ...]) -> tuple[bool, str | None]:
    """Return whether images of ``shape``, (N, C, H, W) or (N, H, W, C), have channels first.

    The second value is a note if the sizes are ambiguous.
    """
    first, last = shape[1], shape[3]
    if last in (1, 3) and first not in (1, 3):
        return False, None
    if last in (2, 4) and first not in (1, 2, 3, 4):
        return False, None
    if last in (1, 2, 3, 4) and first in (1, 2, 3, 4) and first != last:
        return True, f"the first {first} of {shape[1:]} taken for the channels"
    return True, None


def unfit(where: str, wrong: int, rows: int, first: int, *, is_float: bool) -> InputError:
    """The error for numbers that float32 cannot hold."""
    why = f"an integer beyond {LARGEST_COUNT}, which float32 would round"
    way_out = "rescale the values"
    if is_float:
        why = "NaN or an infinity"
        way_out = "drop such rows, or mark the entries in a mask (an .npz of x and mask)"
    return InputError(
        f"{where} holds {why} in {wrong} of {rows} rows, first in row {first} (counted from 0): "
        f"{way_out}."
    )
