"""Columns of a table along an axis: their names, and one scale for values of several kinds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ppvae.plots.arrays import Array
from ppvae.plots.style import four_digits
from ppvae.plots.text import fitted

NAMED = 24
"""Maximum number of columns with written names."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table, as drawn in a figure.

    Attributes:
        names: of each column; empty if they have none.
        is_mixed: whether their values are of several kinds without a common scale: each is drawn as
            a share of its range in the figure.
        kinds: of each column: ``"real"``, ``"count"`` or ``"category"``; empty: real.
        levels: names of the levels of each category, empty for the others.
    """

    names: Sequence[str] = ()
    is_mixed: bool = False
    kinds: Sequence[str] = ()
    levels: Sequence[Sequence[str]] = ()

    def kind_of(self, place: int) -> str:
        """Kind of the values of a column."""
        return self.kinds[place] if self.kinds else "real"

    def levels_of(self, place: int) -> Sequence[str]:
        """Names of the levels of a categorical column."""
        return self.levels[place] if self.levels else ()

    @property
    def is_counts(self) -> bool:
        """Whether most are counts and none is a real number."""
        counts = [kind == "count" for kind in self.kinds]
        return 2 * sum(counts) > len(counts) and "real" not in self.kinds

    def shown(self, table: Array) -> Array:
        """Values ``(..., D)`` as they are drawn: counts as log(1 + count)."""
        return np.log1p(np.maximum(table, 0.0)) if self.is_counts else table

    @property
    def value(self) -> str:
        """Label of the drawn values."""
        if self.is_counts:
            return "log(1 + count)"
        return "share of the column's range" if self.is_mixed else "value, as modelled"

    def ranges(self, *arrays: Array) -> list[str]:
        """The range of each column in tables ``(..., D)``, in words, if they share no scale."""
        if not self.is_mixed:
            return []
        low, width = (np.asarray(each) for each in self.scale(*arrays))
        return [
            "" if self.levels_of(i) else f"{four_digits(a)} to {four_digits(a + w)}"
            for i, (a, w) in enumerate(zip(low.tolist(), width.tolist(), strict=True))
        ]

    def scale(self, *arrays: Array) -> tuple[Array | float, Array | float]:
        """Offset and scale by which values of tables ``(..., D)`` are drawn."""
        if not self.is_mixed:
            return 0.0, 1.0
        every = np.concatenate([a.reshape(-1, a.shape[-1]) for a in arrays])
        seen = np.isfinite(every)
        low = np.where(seen, every, np.inf).min(0)
        high = np.where(seen, every, -np.inf).max(0)
        # A column that is constant, or empty, in the figure has no range.
        return np.where(np.isfinite(low), low, 0.0), np.where(high > low, high - low, 1.0)

    def label(self, axes: Axes, ranges: Sequence[str] = ()) -> None:
        """Label the axis of the columns, with ``ranges`` below their names."""
        if 0 < len(self.names) <= NAMED:
            names = [fitted(name, 1.6) for name in self.names]
            if ranges:
                names = [f"{name}\n{said}" for name, said in zip(names, ranges, strict=True)]
            axes.set_xticks(
                range(len(self.names)), labels=names, rotation=40, ha="right",
                rotation_mode="anchor",
            )  # fmt: skip
            return
        axes.set_xlabel("column index")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


PLAIN = Columns()
"""Columns without names or kinds."""
