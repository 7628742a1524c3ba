"""The form of results: arrays for arrays, tables for tables."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Split
from ppvae.data.columns import Column
from ppvae.data.containers import plain
from ppvae.data.frame import as_frame
from ppvae.data.scaling import Scaling


@dataclass(frozen=True)
class Form:
    """The form of a result, in the unit of the data of a fit.

    Attributes:
        scaling: how raw values became x.
        columns: the columns of the fit's data, if they are a table.
        x: the given data; None: the run's own data.
        index: names of the rows: the index of a given pandas table, else the names in the data,
            else their numbers in the file or array, from 0; None: numbers from 0.
    """

    scaling: Scaling
    columns: Sequence[Column] | None
    x: Any = None
    index: Any = None

    @classmethod
    def of(cls, scaling: Scaling, columns: Sequence[Column] | None, x: Any, rows: Split) -> Self:
        """The form of results for ``rows``, which were read from ``x``."""
        known = rows.annotations
        index = known.numbers.numpy() if known.index is None else known.index
        return cls(scaling, columns, x, x.index if is_frame(x) else index)

    def values(self, values: NDArray[Any]) -> Any:
        """One number per row: an array, or a Series for a table."""
        if not is_frame(self.x) and self.columns is None:
            return values
        import pandas as pd

        return pd.Series(values, index=self.index)

    def like_x(self, x: Tensor) -> Any:
        """Rows as the model sees them, as a table or in the shape of the given array."""
        x = x.detach().cpu()
        if self.columns is not None:
            table = as_frame(x, self.columns, self.scaling)
            return table if self.index is None else table.set_axis(self.index)
        values = self.scaling.undo(x).numpy()
        if is_frame(self.x):
            import pandas as pd

            return pd.DataFrame(values, index=self.index, columns=self.x.columns)
        return _laid_out(values, tuple(np.shape(self.x))) if is_array(self.x) else values

    def filled(self, x: Tensor, mask: Tensor) -> Any:
        """The given data, with ``x`` where ``mask`` is False; the rest is unchanged."""
        answer = self.like_x(x)
        if is_frame(self.x):
            names = list(map(str, self.x.columns))
            places = [names.index(each.name) for each in self.columns or ()] or range(len(names))
            return _filled_frame(self.x, places, answer, mask.numpy())
        if is_array(self.x) and self.columns is None:
            seen = _laid_out(mask.numpy(), tuple(np.shape(self.x)))
            return np.where(seen, plain(self.x, "x", "x").values, answer)
        return answer


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array or a tensor."""
    return isinstance(x, (np.ndarray, Tensor))


def _laid_out(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Rows with the axes of the given array.

    Grey images and single numbers may lack an axis that the programs see, and channels may come
    last.
    """
    if len(shape) in (1, 3):
        return values.reshape(shape)
    return values.transpose(0, 2, 3, 1) if len(shape) == 4 and values.shape != shape else values


def _filled_frame(frame: Any, places: Sequence[int], answer: Any, seen: NDArray[np.bool_]) -> Any:
    """A table with missing values replaced by those of ``answer``.

    Args:
        frame: the table, which is not changed.
        places: the place in ``frame`` of each column of ``answer``; names may be repeated, or
            numbers.
        answer: values in the columns of the fit.
        seen: like ``answer``.
    """
    filled = frame.copy()
    for j, place in enumerate(places):
        if not seen[:, j].all():
            values = answer.iloc[:, j].tolist()
            filled.isetitem(place, _filled(frame.iloc[:, place], values, seen[:, j]))
    return filled


def _filled(column: Any, values: Sequence[Any], seen: NDArray[np.bool_]) -> Any:
    """A column with missing values replaced, in its own type or one that holds them.

    Levels, which the fit knows by name, are those of the column.
    """
    import pandas as pd

    if not seen.any():
        return pd.Series(values, column.index, name=column.name)
    dtype, known = column.dtype, column[seen].tolist()
    is_category = isinstance(dtype, pd.CategoricalDtype)
    if not is_category and all(map(_is_number, known)):
        own: list[Any] = [float(value) for value in values]
    else:
        there = [True, False] if _is_truth(known[0]) else dtype.categories if is_category else known
        levels = {str(value).strip(): value for value in there}
        own = [levels.get(value, value) for value in values]
    new = [value for value, is_seen in zip(own, seen, strict=True) if not is_seen]
    filled = column.astype(object)
    filled[~seen] = new
    if is_category:
        more = [value for value in dict.fromkeys(new) if value not in dtype.categories]
        return filled.astype(column.cat.add_categories(more).dtype)
    if dtype.kind in "iu" and not all(value.is_integer() for value in new):
        return filled.astype("Float64" if pd.api.types.is_extension_array_dtype(dtype) else float)
    if dtype.kind == "b" and not all(isinstance(value, bool) for value in new):
        return filled.astype(float)
    return filled.astype(dtype)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not _is_truth(value)


def _is_truth(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))
