"""A table: its columns by type, what is missing, and the columns that are no part of x."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.cells import Cells, Row
from ppvae.data.columns import Column, ColumnKind
from ppvae.data.covariates import Covariate
from ppvae.data.faults import Faults
from ppvae.data.labels import encode
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

_MOST_LEVELS = 100
"""Levels of a category at most, where nobody says that a column of words is one."""

_LARGEST_COUNT = 2**24
"""float32 holds every whole number up to here, and not the next one."""

_PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid",
    "val": "valid", "dev": "valid", "test": "test",
}  # fmt: skip


def row_of_frame(frame: "pd.DataFrame") -> Row:
    """What sentences call the rows of a table in memory: by the names of its index."""
    return lambda place: f"row {frame.index[place]!r}"


def row_of_file(place: int) -> str:
    """What sentences call a row of a file."""
    return f"row {place + 1} (counted from 1 below the header)"


def table_source(
    frame: "pd.DataFrame",
    where: str,
    options: ReadOptions,
    schema: Schema,
    *,
    row: Row | None = None,
    decimal: str = ".",
    notes: Sequence[str] = (),
) -> Source:
    """Return a table as raw rows, with all that its other columns say of them.

    Numbers are real, or counts where they are whole and the smallest is 0 or 1; words and truth
    values are categories, in sorted order. Empty cells become a mask. A label column of words or
    whole numbers becomes codes, -1 where it is empty, and one of decimals a covariate.

    Args:
        frame: the table.
        where: the file or name that sentences about it begin with.
        options: what its user says of the columns.
        schema: what a fit read in its table, which this one has to have again.
        row: what sentences call a row, by its place; default: by the index.
        decimal: what stands before decimals in columns of text.
        notes: how it was read so far.

    Raises:
        InputError: with all faults of the table in one answer.
    """
    frame = frame.rename(columns=str)
    options = options.of_new(frame.columns) if options.may_lack else options
    beside = beside_x(frame, where, options, schema, row=row, decimal=decimal)
    table, faults = beside.table, beside.faults
    names = table.inputs(options, schema)
    columns = [table.column(name, options.kinds.get(name), schema) for name in names]
    if not names and schema.columns is None:
        faults.add("no column is left for x: give fewer of them another part")
    found = [each for each in columns if each is not None]
    values = np.stack([v for _, v in found], 1) if found else np.zeros((len(frame), 0))
    size, unit = size_factors(beside, options.size_factor, schema.size_unit)
    faults.check()
    mask = ~np.isnan(values)
    rows = ArrayRows(
        torch.from_numpy(np.nan_to_num(values, nan=0.0)),
        beside.y,
        None if mask.all() else torch.from_numpy(mask),
        tuple(names),
        size,
        beside.annotations,
    )
    said = [*notes, *table.left_out(names, options)]
    if beside.unlabelled:
        said.append(f"{beside.unlabelled:,} labels are not known")
    if not mask.all():
        said.append(f"{int((~mask).sum()):,} empty cells are left out by a mask")
    return Source(
        where,
        **beside.divided(rows),
        labels=beside.labels,
        columns=tuple(column for column, _ in found),
        covariates=beside.covariates,
        size_unit=unit,
        notes=tuple(said),
    )


@final
@dataclass(frozen=True)
class Beside:
    """What the columns say that are no part of x.

    Args:
        table: the columns.
        y: codes of labels, or covariates; or None.
        labels: names of the label codes.
        covariates: the columns that y is made of, where it is covariates.
        annotations: what is known of the rows, and not shown to the programs.
        parts: the rows of each part, where a column says it; empty where none does.
        faults: what is wrong so far.
    """

    table: "_Table"
    y: Tensor | None
    labels: tuple[str, ...] | None
    covariates: tuple[Covariate, ...]
    annotations: Annotations
    parts: dict[str, Tensor]
    faults: Faults

    @property
    def unlabelled(self) -> int:
        """How many rows have no label, where others have."""
        codes = self.annotations.label if self.covariates else self.y
        is_codes = codes is not None and not codes.is_floating_point()
        return int((codes < 0).sum()) if is_codes and codes is not None else 0

    def divided(self, rows: ArrayRows) -> dict[str, Any]:
        """The rows by part; all as those of train where no column divides them."""
        if not self.parts:
            return {"train": rows}
        return {part: rows.select(places) for part, places in self.parts.items()}


def beside_x(
    frame: "pd.DataFrame",
    where: str,
    options: ReadOptions,
    schema: Schema,
    *,
    row: Row | None = None,
    decimal: str = ".",
) -> Beside:
    """Read the columns that are no part of x; see `table_source`."""
    faults = Faults(where)
    _check_names(frame, options, faults)
    table = _Table(frame, where, row or row_of_frame(frame), decimal, faults)
    code, labels = table.label(options.label, schema)
    covariates, design = table.covariates(options.covariates, schema)
    if design is not None and code is not None and code.is_floating_point():
        faults.add(f"`label={options.label!r}` holds decimals: give it in `covariates`")
    label = code if design is not None else None
    known = Annotations(torch.arange(len(frame)), table.index(options.index), label)
    return Beside(
        table, code if design is None else design, labels, covariates, known,
        table.parts(options.split_column), faults,
    )  # fmt: skip


def size_factors(
    beside: Beside, asked: str | None, unit: float | None
) -> tuple[Tensor | None, float | None]:
    """The size factors that a column holds, over their mean, and that mean.

    Args:
        beside: what the other columns say.
        asked: a column; what is none, ``"total"`` included, has no size factors here.
        unit: what those of a fit were divided by.
    """
    if asked in (None, "none", "total"):
        return None, None
    table, cells = beside.table, beside.table.cells(str(asked))
    if cells is None:
        return None, None
    sizes = cells.numbers
    wrong = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)))
    if len(wrong):
        beside.faults.add(
            f"the size factor {asked} is {sizes[wrong[0]]:g} in {table.row(int(wrong[0]))}, and "
            f"not above 0 in {len(wrong)} rows: drop such rows, or give `size_factor='none'`"
        )
        return None, None
    unit = float(sizes.mean()) if unit is None else unit
    return torch.from_numpy((sizes / unit).astype(np.float32)), unit


@final
@dataclass(frozen=True)
class _Table:
    """A table that is being read; what is wrong goes to ``faults``."""

    frame: "pd.DataFrame"
    where: str
    row: Row
    decimal: str
    faults: Faults

    @property
    def names(self) -> list[str]:
        """The columns, as they are called."""
        return list(map(str, self.frame.columns))

    def cells(self, name: str) -> Cells | None:
        """The cells of a column; ``None`` where there are none that can be used."""
        if name not in self.frame:
            return None
        return self.faults.attempt(lambda: Cells.of(self.frame[name], self.row, self.decimal))

    def inputs(self, options: ReadOptions, schema: Schema) -> list[str]:
        """The columns of x: those that were fitted, or all that have no other part."""
        if schema.columns is not None:
            names = [column.name for column in schema.columns]
            lacking = [name for name in names if name not in self.frame]
            if lacking:
                self.faults.add(
                    f"it has no column {', '.join(lacking)}, which the model was fitted on; its "
                    f"columns are {', '.join(self.names)}"
                )
            return [name for name in names if name in self.frame]
        taken = _named(options)
        return [name for name in self.names if name not in taken]

    def left_out(self, names: Sequence[str], options: ReadOptions) -> list[str]:
        """A note on columns that nobody asked for."""
        known = {*names, *_named(options)}
        extra = [name for name in self.names if name not in known]
        return [f"columns left out, for the fit had none such: {', '.join(extra)}"] * bool(extra)

    def column(
        self, name: str, kind: ColumnKind | None, schema: Schema
    ) -> tuple[Column, NDArray[np.float64]] | None:
        """A column of x and its values, NaN where there is none; ``None``: it has a fault."""
        cells = self.cells(name)
        if cells is None:
            return None
        known = {column.name: column for column in schema.columns or ()}.get(name)

        def read() -> tuple[Column, NDArray[np.float64]]:
            column = known or _column(name, cells, kind)
            return column, _values(column, cells, self.row)

        return self.faults.attempt(read)

    def label(
        self, name: str | None, schema: Schema
    ) -> tuple[Tensor | None, tuple[str, ...] | None]:
        """The labels as codes, or as covariates where they are decimals."""
        cells = None if name is None else self.cells(name)
        if cells is None:
            return None, schema.labels
        read = partial(_label, cells, f"{self.where}, column {name}", schema.labels)
        return self.faults.attempt(read) or (None, None)

    def covariates(
        self, names: Sequence[str], schema: Schema
    ) -> tuple[tuple[Covariate, ...], Tensor | None]:
        """The covariates, and their numbers beside each other; of a new table those fitted."""
        known = {each.name: each for each in schema.covariates}
        kept, blocks = [], []
        for name in known or names:
            cells = self.cells(name)
            if cells is None:
                if known:
                    self.faults.add(f"it has no column {name}, a covariate that was fitted")
                continue
            covariate = known.get(name) or Covariate.of(name, cells)
            block = self.faults.attempt(partial(covariate.encode, cells, self.row))
            if block is not None:
                blocks.append(block)
                kept.append(covariate)
        if not blocks:
            return (), None
        return tuple(kept), torch.from_numpy(np.concatenate(blocks, 1))

    def index(self, name: str | None) -> NDArray[Any] | None:
        """The names of the rows, where they have names."""
        import pandas as pd

        if name is not None and name in self.frame:
            return self.frame[name].astype(str).to_numpy(object)
        is_numbered = isinstance(self.frame.index, pd.RangeIndex)
        return None if is_numbered else self.frame.index.astype(str).to_numpy(object)

    def parts(self, name: str | None) -> dict[str, Tensor]:
        """The rows of each part, where a column says it; empty where none does."""
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
    cells: Cells, where: str, labels: tuple[str, ...] | None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Codes of words and whole numbers, -1 where there is none, and their names; or decimals."""
    numbers = cells.numbers[~cells.is_missing]
    if cells.texts is None and not (numbers == numbers.round()).all():
        return encode(cells.numbers, where)
    if cells.is_missing.all():
        raise InputError(f"{where}, is empty in every row")
    levels = cells.levels
    return encode(cells.codes(levels), where, labels, levels)


def _named(options: ReadOptions) -> set[str]:
    """Columns that are no part of x, by the user's own word."""
    size = {options.size_factor} - {None, "none", "total"}
    one = {options.label, options.index, options.split_column} - {None}
    return {str(name) for name in (*one, *options.covariates, *options.drop, *size)}


def _check_names(frame: "pd.DataFrame", options: ReadOptions, faults: Faults) -> None:
    """Find names that are no columns, and columns with one name or two parts."""
    columns = list(frame.columns)
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        faults.add(f"two columns are named {name}: name them apart")
    singles = {"label": options.label, "index": options.index, "split_column": options.split_column}
    parts: list[tuple[str, str]] = [(key, name) for key, name in singles.items() if name]
    parts += [("covariates", name) for name in options.covariates]
    parts += [("drop", name) for name in options.drop]
    if options.size_factor not in (None, "none", "total"):
        parts.append(("size_factor", options.size_factor))
    for key, name in [*parts, *(("kinds", name) for name in options.kinds)]:
        if name not in columns:
            faults.add(
                f"`{key}={name!r}` is no column of it{nearest(name, columns)}; its columns are "
                f"{', '.join(columns[:30])}{', ...' if len(columns) > 30 else ''}"
            )
    taken: Mapping[str, list[str]] = {}
    for key, name in parts:
        if key not in ("size_factor", "covariates"):
            taken = {**taken, name: [*taken.get(name, []), key]}
    for name, keys in taken.items():
        if len(keys) > 1:
            faults.add(f"column {name} is given as {' and as '.join(keys)}: give it one part")


def _column(name: str, cells: Cells, kind: ColumnKind | None) -> Column:
    """What a column is, by its values or by what is said of it."""
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
    """The numbers of a column in x, NaN where there is none."""
    if column.kind != "category":
        if cells.texts is not None:
            raise InputError(f"column {column.name} holds words, and was fitted as numbers")
        return cells.numbers
    codes = cells.codes(column.levels)
    unknown = np.flatnonzero((codes < 0) & ~cells.is_missing)
    if len(unknown):
        raise InputError(
            f"column {column.name} is {cells.as_text(int(unknown[0]))!r} in "
            f"{row(int(unknown[0]))}, which is none of its levels {', '.join(column.levels)}"
        )
    return np.where(cells.is_missing, np.nan, codes.astype(np.float64))
