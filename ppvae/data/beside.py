"""Columns of a table that are not part of x: labels, covariates, names, parts, size factors."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.cells import Row
from ppvae.data.covariates import Covariate
from ppvae.data.faults import Faults
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.rows import Rows
from ppvae.data.table_columns import TableColumns
from ppvae.errors import nearest

if TYPE_CHECKING:
    import pandas as pd

    from ppvae.data.opened_table import OpenedTable


@final
@dataclass(frozen=True)
class Beside:
    """The columns of a table that are not part of x.

    Args:
        table: the columns.
        y: codes of labels, or covariates; or None.
        labels: names of the label codes.
        covariates: the columns from which y is made, if it is covariates.
        annotations: facts about the rows that programs do not see.
        parts: the rows of each part, if a column defines them; else empty.
        faults: errors found so far.
    """

    table: TableColumns
    y: Tensor | None
    labels: tuple[str, ...] | None
    covariates: tuple[Covariate, ...]
    annotations: Annotations
    parts: dict[str, Tensor]
    faults: Faults

    @property
    def unlabelled(self) -> int:
        """Number of rows without a label, if other rows have one."""
        codes = self.annotations.label if self.covariates else self.y
        is_codes = codes is not None and not codes.is_floating_point()
        return int((codes < 0).sum()) if is_codes and codes is not None else 0

    def divided(self, rows: Rows) -> dict[str, Any]:
        """The rows by part; all are training rows if no column divides them."""
        if not self.parts:
            return {"train": rows}
        return {part: rows.part(places) for part, places in self.parts.items()}


def beside_x(
    frame: "pd.DataFrame | OpenedTable",
    where: str,
    options: ReadOptions,
    schema: Schema,
    *,
    row: Row | None = None,
    decimal: str = ".",
) -> Beside:
    """Read the columns that are not part of x; see `table_source`."""
    faults = Faults(where)
    _check_names(frame, options, faults)
    table = TableColumns(frame, where, row or row_of_frame(frame), decimal, faults)
    code, labels = table.label(options, schema)
    covariates, design = table.covariates(options, schema)
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
    """The size factors in a column, divided by their mean, and that mean.

    Args:
        beside: the other columns.
        asked: the name of a column; anything else, such as ``"total"``, gives no size factors.
        unit: the divisor of a fit's size factors.
    """
    if not is_column(asked):
        return None, None
    table, cells = beside.table, beside.table.cells(str(asked))
    if cells is None:
        return None, None
    if cells.texts is not None:
        beside.faults.add(f"the size factor {asked} holds words: give a column of numbers")
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


def named(options: ReadOptions) -> set[str]:
    """Columns that the user excluded from x by giving them another part."""
    size = [options.size_factor] if is_column(options.size_factor) else []
    one = {options.label, options.index, options.split_column} - {None}
    return {str(name) for name in (*one, *options.covariates, *options.drop, *size)}


def row_of_frame(frame: "pd.DataFrame | OpenedTable") -> Row:
    """The names of the rows of a table in memory in sentences: those of its index."""
    return lambda place: f"row {frame.index[place]!r}"


def flattened(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A table with one string as the name of each column, even if names have several levels."""
    import pandas as pd

    if isinstance(frame.columns, pd.MultiIndex):
        names = ["_".join(str(each) for each in name if each != "") for name in frame.columns]
        return frame.set_axis(names, axis=1)
    return frame.rename(columns=str)


def _check_names(frame: "pd.DataFrame | OpenedTable", options: ReadOptions, faults: Faults) -> None:
    """Find names of missing columns, and columns with the same name or two parts.

    Raises:
        InputError: for columns of the same name, which are ambiguous.
    """
    if len(frame) == 0:
        faults.add("it has no rows")
    twice = [str(name) for name, count in Counter(frame.columns).items() if count > 1]
    if twice:
        faults.add(f"two columns are named {', '.join(twice)}: give them different names")
    faults.check()
    singles = {"label": options.label, "index": options.index, "split_column": options.split_column}
    parts = [(key, str(name)) for key, name in singles.items() if name is not None]
    parts += [("covariates", name) for name in options.covariates]
    parts += [("drop", name) for name in options.drop]
    if is_column(options.size_factor):
        parts.append(("size_factor", str(options.size_factor)))
    there, columns = set(frame.columns), list(map(str, frame.columns))
    listed = f", which are {', '.join(columns[:30])}{', ...' if len(columns) > 30 else ''}"
    said = [(name, f"`{key}={name!r}`") for key, name in parts]
    said += [(name, f"{name!r} in `kinds`") for name in options.kinds]
    for name, where in said:
        if name not in there:
            faults.add(f"{where} is not one of its columns{nearest(name, columns)}{listed}")
            listed = ""  # once is enough
    taken = defaultdict(list)
    for key, name in parts:
        taken[name].append(key)
    for name, keys in taken.items():
        if len(keys) > 1 and set(keys) != {"covariates", "size_factor"}:
            faults.add(f"column {name} is given as {' and as '.join(keys)}: give it one part")
        kind = options.kinds.get(name)
        if kind is not None and keys[0] not in ("label", "covariates"):
            faults.add(f"`kinds` says that column {name} is {kind}, and it is given as {keys[0]}")


def is_column(size_factor: str | None) -> bool:
    """Whether size factors come from a column."""
    return size_factor not in (None, "none", "total")
