"""Covariates: columns of a table that the programs are conditional on, as numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from ppvae.data.cells import Cells, Row
from ppvae.errors import InputError


@final
@dataclass(frozen=True)
class Covariate:
    """One covariate: a category as a one-hot vector, or a standardized number.

    Mean and deviation are over all rows of the table: covariates are given to p(x | y), and no
    figure is about them.

    Args:
        name: of the column.
        levels: of a category, in order; empty for a number.
        loc: the mean of a number, which is subtracted.
        scale: its standard deviation, the divisor.
    """

    name: str
    levels: tuple[str, ...] = ()
    loc: float = 0.0
    scale: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its numbers: ``batch=b1``, ..., or its own."""
        return tuple(f"{self.name}={level}" for level in self.levels) or (self.name,)

    @classmethod
    def of(cls, name: str, cells: Cells, *, is_category: bool = False) -> Self:
        """Return the covariate of a column: a category if it holds words, or ``is_category``."""
        if is_category or cells.texts is not None:
            return cls(name, cells.levels)
        loc, spread = float(np.nanmean(cells.numbers)), float(np.nanstd(cells.numbers))
        return cls(name, loc=loc, scale=spread if spread > 0 else 1.0)

    def encode(self, cells: Cells, row: Row) -> NDArray[np.float32]:
        """Return the numbers of each row: (N, levels), or (N, 1).

        Raises:
            InputError: for an empty cell, a level that was not fitted, or the other type.
        """
        empty = np.flatnonzero(cells.is_missing)
        if len(empty):
            raise InputError(
                f"the covariate {self.name} is empty in {len(empty)} rows, first in "
                f"{row(int(empty[0]))}: fill it, or drop such rows"
            )
        if not self.levels:
            if cells.texts is not None:
                raise InputError(f"the covariate {self.name} holds {cells.texts[0]!r}, no number")
            numbers: NDArray[Any] = (cells.numbers - self.loc) / self.scale
            return numbers[:, None].astype(np.float32)
        codes = cells.codes(self.levels)
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            raise InputError(
                f"the covariate {self.name} is {cells.as_text(int(unknown[0]))!r} in "
                f"{row(int(unknown[0]))}, which is not one of its levels {', '.join(self.levels)}"
            )
        return np.eye(len(self.levels), dtype=np.float32)[codes]

    def to_dict(self) -> dict[str, object]:
        """Return plain types for YAML and JSON."""
        if self.levels:
            return {"name": self.name, "levels": list(self.levels)}
        return {"name": self.name, "loc": self.loc, "scale": self.scale}

    @classmethod
    def from_dict(cls, fields: object) -> Self:
        """Read the result of ``to_dict`` from a file that anyone may have edited.

        Raises:
            InputError: for anything that ``to_dict`` cannot have written.
        """
        wanted = {"name", "levels", "loc", "scale"}
        if not isinstance(fields, Mapping) or not set(fields) <= wanted or "name" not in fields:
            raise InputError(f"a covariate is a mapping of name and levels, not {fields!r:.80}")
        try:
            loc, scale = float(fields.get("loc", 0)), float(fields.get("scale", 1))
            said = fields.get("levels", [])
            levels = tuple(map(str, said)) if isinstance(said, list) else None
        except (TypeError, ValueError) as error:
            raise InputError(f"{fields!r:.80} is not a covariate") from error
        is_fine = math.isfinite(loc) and math.isfinite(scale) and scale > 0
        if levels is None or not is_fine:
            raise InputError(
                f"a covariate has a list of levels, a finite loc and a scale above 0, unlike "
                f"{fields!r:.80}"
            )
        return cls(str(fields["name"]), levels, loc, scale)


def encode_values(
    covariates: Sequence[Covariate], values: Mapping[str, Any], count: int
) -> NDArray[np.float32]:
    """Return covariates given by name, one value for all rows or one for each: (count, numbers).

    Raises:
        InputError: for an unknown name or level, or a missing one.
    """
    import pandas as pd

    names = [each.name for each in covariates]
    if set(values) != set(names):
        raise InputError(
            f"`covariates` gives {', '.join(map(str, values)) or 'nothing'}; give a value of each "
            f"of {', '.join(names)}"
        )
    columns = []
    for each in covariates:
        said = values[each.name]
        series: pd.Series = pd.Series(said if np.ndim(said) else [said] * count, name=each.name)
        columns.append(each.encode(Cells.of(series, _row), _row))
    return np.concatenate(columns, 1)


def _row(place: int) -> str:
    return f"row {place} (counted from 0)"
