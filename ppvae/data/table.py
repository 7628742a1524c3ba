"""A table: columns by type, missing cells, and columns that are not part of x."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ppvae.data.beside import beside_x, flattened, named, size_factors
from ppvae.data.cells import Row
from ppvae.data.disk_rows import DiskRows
from ppvae.data.opened_table import OpenedTable
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.parquet_file import ParquetFile, looked_at
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.source import Source

if TYPE_CHECKING:
    import pandas as pd


def table_source(
    frame: "pd.DataFrame | OpenedTable",
    where: str,
    options: ReadOptions,
    schema: Schema,
    *,
    row: Row | None = None,
    decimal: str = ".",
    notes: Sequence[str] = (),
) -> Source:
    """Return a table as raw rows, with the information in its other columns.

    Numbers are real, or counts if they are whole and the smallest is 0 or 1; words and truth values
    are categories, in sorted order. Empty cells become a mask. A label column of words or whole
    numbers becomes codes, -1 where it is empty; a label column of decimals becomes a covariate.

    Args:
        frame: the table, or one whose rows stay on disk.
        where: the file or name with which errors begin.
        options: the user's options for the columns.
        schema: that of a fit, which this table has to match.
        row: the name of a row in sentences, by its position; default: by the index.
        decimal: the decimal mark in columns of text.
        notes: how it was read so far.

    Raises:
        InputError: with all faults of the table in one message.
    """
    frame = frame if isinstance(frame, OpenedTable) else flattened(frame)
    options = options.of_new(frame.columns) if options.may_lack else options
    beside = beside_x(frame, where, options, schema, row=row, decimal=decimal)
    table, faults = beside.table, beside.faults
    names = table.inputs(named(options), schema)
    known = {column.name: column for column in schema.columns or ()}
    if not names and schema.columns is None:
        faults.add("no column is left for x: give another part to fewer of them")
    rows: Rows
    if isinstance(frame, OpenedTable):
        columns, empty = looked_at(table, names, options.kinds, known)
        size, unit = size_factors(beside, options.size_factor, schema.size_unit)
        faults.check()
        stored = ParquetFile(frame, columns, options.memory, has_mask=empty > 0)
        index = torch.arange(len(frame))
        rows = DiskRows(stored, index, beside.y, tuple(names), size, beside.annotations)
        notes = [*notes, stored.note]
    else:
        found = [table.column(name, options.kinds.get(name), known.get(name)) for name in names]
        pairs = [each for each in found if each is not None]
        columns = [column for column, _ in pairs]
        values = np.stack([v for _, v in pairs], 1) if pairs else np.zeros((len(frame), 0))
        size, unit = size_factors(beside, options.size_factor, schema.size_unit)
        faults.check()
        mask = ~np.isnan(values)
        empty = int((~mask).sum())
        rows = ArrayRows(
            torch.from_numpy(np.nan_to_num(values, nan=0.0)),
            beside.y,
            torch.from_numpy(mask) if empty else None,
            tuple(names),
            size,
            beside.annotations,
        )
    said = [*notes, *table.notes, *table.left_out({*names, *named(options)})]
    if beside.unlabelled:
        said.append(f"{beside.unlabelled:,} labels are unknown")
    if empty:
        said.append(f"{empty:,} empty cells are left out by a mask")
    return Source(
        where,
        **beside.divided(rows),
        labels=beside.labels,
        columns=tuple(columns),
        covariates=beside.covariates,
        size_unit=unit,
        notes=tuple(said),
    )


def row_of_file(place: int) -> str:
    """The name of a row of a file in sentences."""
    return f"row {place + 1} (counted from 1 below the header)"
