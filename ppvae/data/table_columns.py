"""The columns of a table, each read by its part."""

from collections.abc import Container
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.cells import Cells, Row
from ppvae.data.columns import Column, ColumnKind
from ppvae.data.covariates import Covariate
from ppvae.data.faults import Faults
from ppvae.data.labels import UNKNOWN, encode
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.sentinels import sentinel
from ppvae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from ppvae.data.opened_table import OpenedTable

_MOST_LEVELS = 100
"""Largest number of levels of a column of words that counts as a category by default."""

_LARGEST_COUNT = 2**24
"""float32 holds every whole number up to here, but not the next one."""

_PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid",
    "val": "valid", "dev": "valid", "test": "test",
}  # fmt: skip


@final
@dataclass(frozen=True)
class TableColumns:
    """The columns of a table while it is read; errors go to ``faults``, doubts to ``notes``."""

    frame: "pd.DataFrame | OpenedTable"
    where: str
    row: Row
    decimal: str
    faults: Faults
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(map(str, self.frame.columns))

    def cells(self, name: str, *, may_be_words: bool = False) -> Cells | None:
        """The cells of a column; ``None`` if they cannot be used."""
        if name not in self.frame:
            return None
        return self.faults.attempt(
            lambda: Cells.of(self.frame[name], self.row, self.decimal, may_be_words=may_be_words)
        )

    def inputs(self, taken: Container[str], schema: Schema) -> list[str]:
        """The columns of x: those of the fit, or all that have no other part."""
        if schema.columns is not None:
            names = [column.name for column in schema.columns]
            lacking = [name for name in names if name not in self.frame]
            if lacking:
                self.faults.add(
                    f"it has no column {', '.join(lacking)}, which the model was fitted on; its "
                    f"columns are {', '.join(self.names)}"
                )
            return [name for name in names if name in self.frame]
        return [name for name in self.names if name not in taken]

    def left_out(self, known: Container[str]) -> list[str]:
        """A note on unused columns."""
        extra = [name for name in self.names if name not in known]
        return [f"columns left out, as the fit did not have them: {', '.join(extra)}"] * bool(extra)

    def column(
        self, name: str, kind: ColumnKind | None, known: Column | None
    ) -> tuple[Column, NDArray[np.float64]] | None:
        """A column of x and its values, NaN for empty cells; ``None``: it has a fault."""
        said = kind if known is None else known.kind
        cells = self.cells(name, may_be_words=said == "category")
        if cells is None:
            return None

        def read() -> tuple[Column, NDArray[np.float64]]:
            column = known or _column(name, cells, kind)
            values = _values(column, cells, self.row)
            if known is None and column.kind != "category":
                self._doubt(name, values[~cells.is_missing])
            return column, values

        return self.faults.attempt(read)

    def _doubt(self, name: str, values: NDArray[np.float64]) -> None:
        """Note a number that may mean "missing"."""
        if (found := sentinel(values)) is not None:
            self.notes.append(
                f"column {name} is {found[0]:g} in {found[1]:,} rows, far from all its other "
                "values: leave these cells empty if it means missing"
            )

    def label(
        self, options: ReadOptions, schema: Schema
    ) -> tuple[Tensor | None, tuple[str, ...] | None]:
        """The labels as codes, or as covariates if they are decimals."""
        name = options.label
        cells = None if name is None else self.cells(name, may_be_words=True)
        if cells is None:
            return None, schema.labels
        kind = "real" if schema.is_decimal else options.kinds.get(str(name))
        read = partial(_label, cells, f"the label {name}", schema.labels, kind, self.row)
        return self.faults.attempt(read) or (None, None)

    def covariates(
        self, options: ReadOptions, schema: Schema
    ) -> tuple[tuple[Covariate, ...], Tensor | None]:
        """The covariates, and their numbers side by side; for a new table those of the fit."""
        known = {each.name: each for each in schema.covariates}
        kept, blocks = [], []
        for name in known or options.covariates:
            kind = options.kinds.get(name)
            is_category = kind == "category" or (name in known and bool(known[name].levels))
            cells = self.cells(name, may_be_words=is_category)
            if cells is None:
                if name not in self.frame and name not in options.covariates:
                    self.faults.add(f"it has no column {name}, a covariate of the fit")
                continue
            covariate = known.get(name) or Covariate.of(name, cells, is_category=is_category)
            block = self.faults.attempt(partial(covariate.encode, cells, self.row))
            if block is not None:
                blocks.append(block)
                kept.append(covariate)
        if not blocks:
            return (), None
        return tuple(kept), torch.from_numpy(np.concatenate(blocks, 1))

    def index(self, name: str | None) -> NDArray[Any] | None:
        """The names of the rows, if they have any; a note says how many rows share one."""
        import pandas as pd

        names = self._names(name)
        observed = pd.Series(names, dtype=object).dropna()
        if repeated := int(observed[observed != ""].duplicated(keep=False).sum()):
            what = f"the index {name}" if name in self.frame else "the index"
            self.notes.append(f"{what} has {repeated:,} rows whose name is not unique")
        return names

    def _names(self, name: str | None) -> NDArray[Any] | None:
        """The cells of a column, or the index of a DataFrame unless it counts the rows."""
        import pandas as pd

        if name is not None and name in self.frame:
            column = self.frame[name]
            is_text = column.dtype.kind not in "iub"
            return (column.fillna("").astype(str) if is_text else column).to_numpy(object)
        index = self.frame.index
        if isinstance(index, pd.MultiIndex):
            return np.array([", ".join(map(str, each)) for each in index], dtype=object)
        is_numbered = isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1)
        return None if is_numbered else index.to_numpy(object)

    def parts(self, name: str | None) -> dict[str, Tensor]:
        """The rows of each part, if a column defines them; else empty."""
        if name is None or name not in self.frame:
            return {}
        said = self.frame[name].astype(str).str.strip().str.lower()
        unknown = np.flatnonzero(~said.isin(_PARTS).to_numpy())
        if len(unknown):
            self.faults.add(
                f"`split_column={name!r}` says {said.iloc[unknown[0]]!r} in "
                f"{self.row(int(unknown[0]))}; it must be train, valid or test in each row"
            )
            return {}
        part = said.map(_PARTS).to_numpy()
        parts = {
            each: torch.from_numpy(np.flatnonzero(part == each))
            for each in ("train", "valid", "test")
        }
        if not len(parts["train"]):
            self.faults.add(f"`split_column={name!r}` gives no row to train")
        return {each: rows for each, rows in parts.items() if len(rows)}


def _label(
    cells: Cells,
    what: str,
    labels: tuple[str, ...] | None,
    kind: ColumnKind | None,
    row: Row,
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Codes of words and whole numbers, and their names; or decimals.

    An empty label, or the number -1, is unknown.
    """
    if kind == "count":
        raise InputError(f"`kinds` says that {what} is a count; it is a category, or real")
    if kind == "real" or (kind is None and cells.texts is None and not cells.is_whole):
        empty = np.flatnonzero(cells.is_missing | np.isnan(cells.numbers))
        if len(empty):
            raise InputError(
                f"{what} holds decimals, and is empty in {row(int(empty[0]))}: fill it, or drop "
                "such rows"
            )
        return encode(cells.numbers, what)
    is_unknown = cells.is_missing | (cells.numbers == UNKNOWN)
    if labels is None and is_unknown.all():
        raise InputError(f"{what} is empty in every row")
    levels = tuple(level for level in cells.levels if cells.texts is not None or level != "-1")
    if not levels and labels is not None:
        return torch.full((len(cells),), UNKNOWN), labels
    codes = cells.codes(levels)
    codes[is_unknown] = UNKNOWN
    return encode(codes, what, labels, levels)


def _column(name: str, cells: Cells, kind: ColumnKind | None) -> Column:
    """The kind of a column, by its values or by the user's choice."""
    if cells.is_missing.all():
        raise InputError(f"column {name} has no value: give `drop={[name]!r}`")
    if kind == "category" or (kind is None and cells.texts is not None):
        levels = cells.levels
        if kind is None and len(levels) > max(20, min(_MOST_LEVELS, len(cells) // 2)):
            raise InputError(
                f"column {name} holds {len(levels):,} different texts ({', '.join(levels[:2])}, "
                f"...), too many for a category: give `index={name!r}` if they name the rows, or "
                f"`drop={[name]!r}`"
            )
        return Column(name, "category", levels)
    if cells.texts is not None:
        raise InputError(f"`kinds` says that column {name} is {kind}, and it holds words")
    numbers = cells.numbers[~cells.is_missing]
    is_whole = bool((numbers == numbers.round()).all())
    if kind == "count" and not (is_whole and numbers.min() >= 0):
        raise InputError(
            f"`kinds` says that column {name} holds counts, and it holds "
            f"{numbers[(numbers != numbers.round()) | (numbers < 0)][0]:g}"
        )
    if is_whole and np.abs(numbers).max() > _LARGEST_COUNT:
        raise InputError(
            f"column {name} holds an integer beyond {_LARGEST_COUNT}, which float32 would round: "
            f"rescale it, or give `drop={[name]!r}`"
        )
    if kind is None and is_whole and numbers.min() >= 0 and numbers.max() == 1:
        return Column(name, "category", ("0", "1"))
    is_count = kind == "count" or (kind is None and is_whole and numbers.min() in (0, 1))
    return Column(name, "count" if is_count else "real")


def _values(column: Column, cells: Cells, row: Row) -> NDArray[np.float64]:
    """The numbers of a column in x, NaN for empty cells."""
    if column.kind != "category":
        if cells.texts is not None:
            raise InputError(f"column {column.name} holds words, and was fitted as numbers")
        return cells.numbers
    codes = cells.codes(column.levels)
    unknown = np.flatnonzero((codes < 0) & ~cells.is_missing)
    if len(unknown):
        raise InputError(
            f"column {column.name} is {cells.as_text(int(unknown[0]))!r} in "
            f"{row(int(unknown[0]))}, which is not one of its levels {', '.join(column.levels)}"
        )
    return np.where(cells.is_missing, np.nan, codes.astype(np.float64))
