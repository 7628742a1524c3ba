"""Arrays as data, from any container."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.containers import check_same_columns, check_same_index, plain
from ppvae.data.labels import UNKNOWN, encode
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.data.tensors import LARGEST_COUNT, as_tensor, unfit
from ppvae.errors import InputError


def array_source(
    x: Any,
    where: str,
    y: Any = None,
    mask: Any = None,
    labels: tuple[str, ...] | None = None,
) -> Source:
    """Return arrays as raw rows.

    Args:
        x: (N,), one number per row; (N, D), a table; (N, H, W), grey images; (N, C, H, W), or
            (N, H, W, C) with up to 4 channels, images; or (N, *shape) with more dimensions; in any
            container of `ppvae.data.containers.plain`, whose mask and names are kept.
        where: the name with which errors begin.
        y: see :func:`ppvae.data.labels.encode`.
        mask: the shape of ``x``, True (or 1) where x was observed; elsewhere x may be NaN.
        labels: label names, whose order gives the codes of ``y``.

    Raises:
        InputError: for anything else.
    """
    check_same_index(x, y, where)
    check_same_columns(x, mask, where)
    contents = plain(x, where, "x")
    if contents.categories is not None:
        raise InputError(f"{where}: x holds categories; it must hold numbers: give labels as y.")
    values = contents.values
    if values.ndim == 0 or values.size == 0:
        raise InputError(f"{where} holds no data: x has shape {values.shape}.")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{where}: x holds {values.dtype}; it must hold real numbers.")
    seen = None if mask is None else _mask(plain(mask, where, "mask").values, values, where)
    if contents.mask is not None:
        seen = contents.mask if seen is None else seen & contents.mask
    _check_numbers(values, seen, where)
    code, names = _labels(y, values, where, labels)
    tensor, note = as_tensor(values)
    rows = ArrayRows(tensor, code, None if seen is None else as_tensor(seen)[0], contents.names)
    return Source(where, rows, labels=names, notes=() if note is None else (note,))


def _labels(
    y: Any, x: NDArray[Any], where: str, labels: tuple[str, ...] | None
) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Return codes or covariates, and the names of codes; a masked label is unknown."""
    if y is None:
        return None, None
    contents = plain(y, where, "y")
    values, categories = contents.values, contents.categories
    if values.ndim == 0 or len(values) != len(x):
        raise InputError(f"{where}: y has shape {values.shape}, and x has {len(x)} rows.")
    if contents.mask is not None and values.dtype.kind != "f":
        order, places = np.unique(values[contents.mask], return_inverse=True)
        values, categories = np.full(values.shape, UNKNOWN), tuple(order.tolist())
        values[contents.mask] = places
    elif contents.mask is not None:
        values = np.where(contents.mask, values, np.nan)  # reported as not a number
    return encode(values, where, labels, categories)


def _mask(mask: NDArray[Any], x: NDArray[Any], where: str) -> NDArray[np.bool_]:
    if mask.shape != x.shape:
        raise InputError(f"{where}: mask has shape {mask.shape}, and x has {x.shape}.")
    if mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"{where}: mask must be True where x was observed and False elsewhere, of type bool."
        )
    return mask.astype(np.bool_)


def _check_numbers(x: NDArray[Any], mask: NDArray[np.bool_] | None, where: str) -> None:
    """Refuse values that float32 cannot hold: NaN, infinities, and integers it would round."""
    if x.dtype.kind == "f":
        fine = np.isfinite(x)
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        fine = (x >= -LARGEST_COUNT) & (x <= LARGEST_COUNT)
    else:
        return
    if mask is not None:
        fine |= ~mask
    wrong = np.flatnonzero(~fine.reshape(len(x), -1).all(1))
    if len(wrong):
        raise unfit(where, len(wrong), len(x), int(wrong[0]), is_float=x.dtype.kind == "f")
