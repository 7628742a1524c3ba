"""Python's containers of numbers as plain arrays, with everything that they state.

A mask, names, categories and their order, missing values and sparse entries are part of the meaning
of a container; `np.asarray` alone would silently drop them.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any, final

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.errors import InputError


@final
@dataclass(frozen=True)
class Plain:
    """The contents of a container.

    Args:
        values: the array.
        mask: True where there is a value, or None if there is one everywhere.
        names: the columns, if they have names.
        categories: the names of labels in their order, if the container has one.
    """

    values: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    names: tuple[str, ...] | None = None
    categories: tuple[Any, ...] | None = None


def plain(container: Any, where: str, what: str) -> Plain:
    """Return what ``container`` holds.

    Args:
        container: an array, masked or memory-mapped, or a list of lists; a tensor of torch, of any
            type and on any device; a sparse matrix or array of SciPy; a DataFrame, Series,
            Categorical or array of pandas; or anything else that is an array to NumPy.
        where: the name with which errors begin.
        what: ``"x"``, ``"y"`` or ``"mask"``.

    Raises:
        InputError: for anything that is not an array of one type, or too large for memory.
    """
    if isinstance(container, Tensor):
        return Plain(_tensor(container))
    if isinstance(container, np.ma.MaskedArray):
        return _masked(container)
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(container):
        return Plain(dense(container, where, what))
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(container, pandas.DataFrame):
            return _frame(container, where, what)
        if isinstance(container, pandas.Categorical):
            container = pandas.Series(container)
        if isinstance(
            container, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)
        ):
            return _column(pandas.Series(container), where, what)
    try:
        values = np.asarray(container)
    except ValueError as error:  # lists of several lengths
        raise InputError(
            f"{where}: {what} is not an array: {error}; give rows of one shape."
        ) from error
    return Plain(_typed(values, where, what))


def observed(x: Any, mask: Any) -> Any:
    """The mask of ``x``, also False where it holds NaN; None if everything was observed.

    Raises:
        InputError: for a mask whose rows or columns have other names.
    """
    check_same_columns(x, mask, "x")
    contents = plain(x, "x", "x")
    if contents.values.dtype.kind != "f":
        return mask
    holes = np.isnan(contents.values)
    if not holes.any():
        return mask
    return ~holes if mask is None else ~holes & plain(mask, "x", "mask").values.astype(np.bool_)


def dense(matrix: Any, where: str, what: str = "x") -> NDArray[Any]:
    """Return a sparse matrix as a dense array.

    Raises:
        InputError: if it does not fit into memory.
    """
    size = int(np.prod(matrix.shape, dtype=np.float64)) * matrix.dtype.itemsize
    free = psutil.virtual_memory().available
    if size > free:
        raise InputError(
            f"{where}: {what} is sparse, {matrix.shape[0]:,} rows of {matrix.shape[1]:,}, and "
            f"takes {size / 2**30:.3g} GiB with its zeros, of which {free / 2**30:.3g} are free: "
            f"take fewer columns (the most variable genes), or fewer rows."
        )
    values: NDArray[Any] = matrix.toarray()
    return values


def check_same_index(x: Any, y: Any, where: str, names: tuple[str, str] = ("x", "y")) -> None:
    """Refuse tables of pandas whose rows have different names, or names in another order.

    Args:
        x: anything.
        y: anything; for a mapping, its values.
        where: the name with which the error begins.
        names: the caller's names of the two.

    Raises:
        InputError: with the way out.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or y is None:
        return
    tables, (one, other) = (pandas.DataFrame, pandas.Series), names
    for each in y.values() if isinstance(y, Mapping) else (y,):
        if isinstance(x, tables) and isinstance(each, tables) and not x.index.equals(each.index):
            raise InputError(
                f"{where}: the rows of {one} and {other} have different names (their index), but "
                f"would be matched by position: give {other}.loc[{one}.index], or reset "
                f"both by reset_index(drop=True)."
            )


def check_same_columns(x: Any, mask: Any, where: str) -> None:
    """Refuse a mask with other names of columns or rows than x, if both have names.

    Raises:
        InputError: with the way out.
    """
    check_same_index(x, mask, where, ("x", "mask"))
    pandas = sys.modules.get("pandas")
    if pandas is None or not all(isinstance(each, pandas.DataFrame) for each in (x, mask)):
        return
    if not x.columns.equals(mask.columns):
        raise InputError(
            f"{where}: the columns of x and mask have different names, or another order: give "
            f"mask[x.columns], or mask.to_numpy() where the order is that of x."
        )


def _tensor(values: Tensor) -> NDArray[Any]:
    values = values.detach()
    if values.layout is not torch.strided:
        values = values.to_dense()
    if values.is_quantized:
        values = values.dequantize()
    if values.is_floating_point() and values.element_size() < 4:
        values = values.float()  # NumPy lacks bfloat16 and similar types
    array: NDArray[Any] = values.resolve_conj().resolve_neg().cpu().numpy()
    return array


def _masked(container: Any) -> Plain:
    mask = np.ma.getmaskarray(container)
    if not mask.any():
        return Plain(np.asarray(container.data))
    # Values under the mask are arbitrary: a fill value, or NaN.
    values = np.where(mask, np.zeros((), container.dtype), container.data)
    return Plain(values, ~mask)


def _typed(values: NDArray[Any], where: str, what: str) -> NDArray[Any]:
    """Return values of one type, also from an array of objects."""
    if values.dtype.names is not None:
        raise InputError(
            f"{where}: {what} is a structured array, with the fields "
            f"{', '.join(values.dtype.names)}: convert it by "
            f"numpy.lib.recfunctions.structured_to_unstructured."
        )
    if values.dtype.kind == "T":
        return np.array(values.tolist(), dtype=str)
    if values.dtype.name == "bfloat16":  # of JAX and others
        return values.astype(np.float32)
    if values.dtype.kind != "O":
        return values
    kinds = {type(value) for value in values.ravel().tolist()}
    if kinds and all(issubclass(kind, Number) for kind in kinds):
        is_whole = all(issubclass(kind, int) for kind in kinds)
        return values.astype(np.int64 if is_whole else np.float64)
    if what == "y" and all(issubclass(kind, (str, bytes)) for kind in kinds):
        return values.astype(str)
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise InputError(
        f"{where}: {what} holds Python objects ({names}), not values of one type: give "
        f"{what}.astype(str) if they are labels, {what}.astype(float) if they are numbers."
    )


def _frame(frame: Any, where: str, what: str) -> Plain:
    """Return a table of numbers or, for y, a single column of anything."""
    if what == "y" and frame.shape[1] == 1:
        return _column(frame.iloc[:, 0], where, what)
    for name, column in frame.items():
        is_of_numbers = column.dtype.kind in "biuf" or (
            column.dtype == object and all(isinstance(value, Number) for value in column.dropna())
        )
        if not is_of_numbers or hasattr(column, "cat"):
            raise InputError(
                f"{where}: column {name} of {what} holds {column.dtype}, not numbers: give it as y "
                f"if it holds labels, turn it into numbers, or drop it."
            )
    columns = [_column(column, where, what).values for _, column in frame.items()]
    if not columns:
        raise InputError(f"{where}: {what} has no columns.")
    return Plain(np.stack(columns, 1), names=tuple(str(name) for name in frame.columns))


def _column(column: Any, where: str, what: str) -> Plain:
    """Return one column, with the order of its categories; missing values are NaN or no label."""
    if hasattr(column, "cat"):
        used = column.cat.remove_unused_categories().cat
        codes = used.codes.to_numpy().astype(np.int64)
        return Plain(codes, categories=tuple(used.categories.tolist()))
    missing = column.isna().to_numpy()
    if column.dtype.kind in "biuf":
        own = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}[column.dtype.kind]
        if missing.any():
            return Plain(column.to_numpy(np.float64, na_value=np.nan))
        return Plain(column.to_numpy(column.dtype if isinstance(column.dtype, np.dtype) else own))
    values = _typed(column[~missing].to_numpy(object), where, what)
    if not missing.any():
        return Plain(values)
    if values.dtype.kind in "biuf":
        full = np.full(len(missing), np.nan)
        full[~missing] = values
        return Plain(full)
    order, places = np.unique(values, return_inverse=True)
    codes = np.full(len(missing), -1)
    codes[~missing] = places
    return Plain(codes, categories=tuple(order.tolist()))
