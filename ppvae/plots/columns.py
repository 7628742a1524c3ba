"""The columns of a table along an axis: their names, and one scale for values of several kinds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ppvae.plots.arrays import Array

NAMED = 40
"""Columns whose names are written, at most."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table, as a picture has them.

    Attributes:
        names: of each column; empty where they have none.
        is_mixed: their values are of several kinds, and have no scale in common: each is drawn as
            a share of the range that it has in the picture.
    """

    names: Sequence[str] = ()
    is_mixed: bool = False

    @property
    def value(self) -> str:
        """What the values that are drawn are."""
        return "share of the column's range" if self.is_mixed else "value, as modelled"

    def scale(self, *arrays: Array) -> tuple[Array | float, Array | float]:
        """What values of tables ``(..., D)`` are drawn less, and what that is divided by."""
        if not self.is_mixed:
            return 0.0, 1.0
        every = np.concatenate([a.reshape(-1, a.shape[-1]) for a in arrays])
        seen = np.isfinite(every)
        low = np.where(seen, every, np.inf).min(0)
        high = np.where(seen, every, -np.inf).max(0)
        # A column that is constant, or empty, in the picture has no range.
        return np.where(np.isfinite(low), low, 0.0), np.where(high > low, high - low, 1.0)

    def label(self, axes: Axes) -> None:
        """Label the axis of the columns."""
        if 0 < len(self.names) <= NAMED:
            axes.set_xticks(
                range(len(self.names)), labels=list(self.names), rotation=40, ha="right",
                rotation_mode="anchor",
            )  # fmt: skip
            return
        axes.set_xlabel("column index")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


PLAIN = Columns()
"""Columns without names, of which nothing is known."""
