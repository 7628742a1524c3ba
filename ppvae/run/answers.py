"""The form of an answer: arrays are answered with arrays, and tables with tables."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Split


@dataclass(frozen=True)
class Form:
    """The form that an answer takes.

    Attributes:
        rows: the rows that are asked about.
        names: names of the columns of x, where it has such.
        index: names of the rows: those of a table of pandas that was given, else those that the
            data has, else their numbers in the file or array, from 0.
        is_table: whether x has column names.
        shape: shape of the array that was given, or None.
    """

    rows: Split
    names: Sequence[Any] | None
    index: Any
    is_table: bool
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, x: Any, rows: Split, names: Sequence[str] | None) -> Self:
        """The form of answers about ``rows``, which were read of ``x``; None: the run's own."""
        if is_frame(x):
            return cls(rows, list(x.columns) if names is None else names, x.index, True)
        known = rows.annotations
        index = known.numbers.numpy() if known.index is None else known.index
        is_array = isinstance(x, (np.ndarray, Tensor))
        return cls(rows, names, index, names is not None, tuple(x.shape) if is_array else None)

    def values(self, values: NDArray[Any]) -> Any:
        """A number for each row: an array, or a Series of a table."""
        if not self.is_table:
            return values
        import pandas as pd

        return pd.Series(values, index=self.index)

    def like_x(self, values: NDArray[Any]) -> Any:
        """Values in the shape of x: an array, or a DataFrame where x has names."""
        if self.names is not None and values.ndim == 2:
            return framed(values, self.names, self.index)
        # Grey images and single numbers come without the axis that the programs see.
        is_same = self.shape is not None and values.size == np.prod(self.shape)
        return values.reshape(self.shape) if is_same and len(self.shape or ()) in (1, 3) else values

    def filled(self, x: Any, values: NDArray[Any], mask: NDArray[np.bool_]) -> Any:
        """``x`` as it was given, with ``values`` where ``mask`` is False."""
        if is_frame(x):
            filled = framed(values, self.names or x.columns, x.index)
            return x.mask(x.isna(), filled)
        if isinstance(x, np.ndarray) and x.shape == values.shape:
            values = np.where(mask, x, values)
        return self.like_x(values)


def framed(values: NDArray[Any], names: Sequence[str], index: Any = None) -> Any:
    """A DataFrame."""
    import pandas as pd

    return pd.DataFrame(values, index=index, columns=list(names))


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)
