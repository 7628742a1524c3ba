"""Columns of data that are not images, as the page shows them: by name, in their units."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ppvae.plots.arrays import Array
from ppvae.run import Run
from ppvae.run.pictured import columns_of, in_units

if TYPE_CHECKING:
    from ppvae.plots import Columns

LISTED = 16
"""Maximum number of columns that are listed one by one."""


@dataclass(frozen=True)
class ShownColumns:
    """The columns of a run's data.

    Attributes:
        run: the run.
        columns: their description; without names where the data are not a table.
    """

    run: Run
    columns: "Columns"

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return those of a run."""
        return cls(run, columns_of(run))

    @property
    def is_listed(self) -> bool:
        """Whether each has a line of its own."""
        return 0 < len(self.columns.names) <= LISTED

    @property
    def unit(self) -> str:
        """Label of the axis of values."""
        if not self.columns.names:
            return "value, as modelled"
        return "log(1 + count)" if self.columns.is_counts else "value"

    def values(self, table: Array) -> Array:
        """Values of a table ``(rows, columns)`` as they are shown."""
        if not self.columns.names:
            return table
        if self.columns.is_counts and not self.is_listed:
            return np.log1p(np.maximum(table, 0.0))
        raw: Array = in_units(self.run, table)
        return raw

    def described(self) -> list[dict[str, Any]]:
        """Names and levels of the listed columns, for the script of the page."""
        if not self.is_listed:
            return []
        return [
            {"name": name, "levels": list(self.columns.levels_of(i))}
            for i, name in enumerate(self.columns.names)
        ]
