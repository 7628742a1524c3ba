"""The form of an answer: arrays are answered with arrays, and tables with tables."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    """The form that an answer takes, in the unit of the data of a fit.

    Attributes:
        scaling: how raw values became x.
        columns: the columns of the fit's data, where they are a table.
        x: what was asked about; None: the run's own data.
        index: names of the rows: those of a table of pandas that was given, else those that the
            data has, else their numbers in the file or array, from 0; None: numbers from 0.
    """

    scaling: Scaling
    columns: Sequence[Column] | None
    x: Any = None
    index: Any = None

    @classmethod
    def of(cls, scaling: Scaling, columns: Sequence[Column] | None, x: Any, rows: Split) -> Self:
        """The form of answers about ``rows``, which were read of ``x``."""
        known = rows.annotations
        index = known.numbers.numpy() if known.index is None else known.index
        return cls(scaling, columns, x, x.index if is_frame(x) else index)

    def values(self, values: NDArray[Any]) -> Any:
        """A number for each row: an array, or a Series of a table."""
        if not is_frame(self.x) and self.columns is None:
            return values
        import pandas as pd

        return pd.Series(values, index=self.index)

    def like_x(self, x: Tensor) -> Any:
        """Rows as the model sees them, as a table or in the shape of the array that was given."""
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
        """What was given, with ``x`` where ``mask`` is False; the rest stays to the bit."""
        answer = self.like_x(x)
        if is_frame(self.x):
            filled = self.x.copy()
            for name in answer.columns:
                filled[name] = _filled(filled[name], answer[name])
            return filled
        if is_array(self.x) and self.columns is None:
            seen = _laid_out(mask.numpy(), tuple(np.shape(self.x)))
            return np.where(seen, plain(self.x, "x", "x").values, answer)
        return answer


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array or a tensor, whose axes are its own."""
    return isinstance(x, (np.ndarray, Tensor))


def _laid_out(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Rows with the axes of the array that was given.

    Grey images and single numbers come without the axis that the programs see, and channels may
    come last.
    """
    if len(shape) in (1, 3):
        return values.reshape(shape)
    return values.transpose(0, 2, 3, 1) if len(shape) == 4 and values.shape != shape else values


def _filled(column: Any, values: Any) -> Any:
    """A column with values where it has none; levels are those of the column."""
    if not column.isna().any():
        return column
    levels = {str(value): value for value in column.dropna().unique()}
    return column.where(column.notna(), values.map(lambda value: levels.get(value, value)))
