"""Arrays as data: from a notebook, a .npy or a .npz file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.files import parsing
from ppvae.data.labels import encode
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.errors import InputError

# float32 holds every whole number up to here, and not the next one.
_LARGEST_COUNT = 2**24


def array_source(
    x: NDArray[Any],
    where: str,
    y: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    labels: tuple[str, ...] | None = None,
) -> Source:
    """Return arrays as raw rows.

    Args:
        x: (N,), one number a row; (N, D), a table; (N, H, W), grey images; (N, C, H, W), or
            (N, H, W, C) with C 1 or 3, images; or (N, *shape) of more.
        where: the name that sentences begin with.
        y: see :func:`ppvae.data.labels.encode`.
        mask: the shape of ``x``, True (or 1) where x was observed; elsewhere x may be NaN.
        labels: names whose order gives the codes of ``y``.

    Raises:
        InputError: for anything else.

    """
    if x.ndim == 0 or x.size == 0:
        raise InputError(f"{where} holds no data: x has shape {x.shape}.")
    if x.dtype.kind not in "biuf":
        raise InputError(f"{where}: x holds {x.dtype}; it must hold numbers.")
    if mask is not None:
        mask = _mask(mask, x, where)
    _demand_numbers(x, mask, where)
    code, names = (None, None) if y is None else encode(_of_length(y, x, where), where, labels)
    rows = ArrayRows(_tensor(x), code, None if mask is None else _tensor(mask))
    return Source(where, rows, labels=names)


def npy_source(path: Path, labels: tuple[str, ...] | None = None) -> Source:
    """Read a ``.npy`` file, or ``x``, ``y`` and ``mask`` of a ``.npz`` file; pickles never are.

    Raises:
        InputError: where the file is damaged, or holds something else.

    """
    with parsing(path, f"a {path.suffix} file"), path.open("rb") as file:
        # Without allow_pickle, so that opening a stranger's file runs none of its code.
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return array_source(content, str(path))
        with content:
            if "x" not in content:
                raise InputError(
                    f"{path} has no array 'x'; it holds {', '.join(content) or 'nothing'}: "
                    f"save it with np.savez(path, x=...)."
                )
            rest = {name: content[name] for name in ("y", "mask") if name in content}
            x = content["x"]
        return array_source(x, str(path), rest.get("y"), rest.get("mask"), labels)


def _mask(mask: NDArray[Any], x: NDArray[Any], where: str) -> NDArray[np.bool_]:
    if mask.shape != x.shape:
        raise InputError(f"{where}: mask has shape {mask.shape}, and x has {x.shape}.")
    if mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"{where}: mask must be True where x was observed and False elsewhere, of type bool."
        )
    return mask.astype(np.bool_)


def _of_length(y: NDArray[Any], x: NDArray[Any], where: str) -> NDArray[Any]:
    if y.ndim == 0 or len(y) != len(x):
        raise InputError(f"{where}: y has shape {y.shape}, and x has {len(x)} rows.")
    return y


def _demand_numbers(x: NDArray[Any], mask: NDArray[np.bool_] | None, where: str) -> None:
    """Refuse what float32 cannot hold: NaN, infinities, and integers it would round."""
    if x.dtype.kind == "f":
        fine = np.isfinite(x)
        why, way_out = (
            "NaN or an infinity",
            "drop such rows, or mark the entries in a mask (an .npz of x and mask)",
        )
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        fine = (x >= -_LARGEST_COUNT) & (x <= _LARGEST_COUNT)
        why = f"an integer beyond {_LARGEST_COUNT}, which float32 would round"
        way_out = "rescale the values"
    else:
        return
    if mask is not None:
        fine |= ~mask
    wrong = np.flatnonzero(~fine.reshape(len(x), -1).all(1))
    if len(wrong):
        raise InputError(
            f"{where} holds {why} in {len(wrong)} of {len(x)} rows, first in row {wrong[0]} "
            f"(counted from 0): {way_out}."
        )


def _tensor(x: NDArray[Any]) -> Tensor:
    """Return ``x`` channels first, as bytes, truth values, int64, float32 or float64."""
    match x.ndim:
        case 1:
            x = x[:, None]
        case 3:
            x = x[:, None]
        case 4 if x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
            x = x.transpose(0, 3, 1, 2)
    if x.dtype.kind == "f":
        x = x.astype(np.float64 if x.dtype.itemsize >= 8 else np.float32)
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        x = x.astype(np.int64)
    # A copy of its own: read-only memory and negative strides cannot be a tensor.
    return torch.from_numpy(np.array(x, order="C"))
