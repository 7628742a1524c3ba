"""A table: its columns by type, what is missing, and the columns that are no part of x."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ppvae.data.beside import beside_x, flattened, named, size_factors
from ppvae.data.cells import Row
from ppvae.data.options import ReadOptions, Schema
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source

if TYPE_CHECKING:
    import pandas as pd


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
    frame = flattened(frame)
    options = options.of_new(frame.columns) if options.may_lack else options
    beside = beside_x(frame, where, options, schema, row=row, decimal=decimal)
    table, faults = beside.table, beside.faults
    names = table.inputs(named(options), schema)
    known = {column.name: column for column in schema.columns or ()}
    columns = [table.column(name, options.kinds.get(name), known.get(name)) for name in names]
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
    said = [*notes, *table.left_out({*names, *named(options)})]
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


def row_of_file(place: int) -> str:
    """What sentences call a row of a file."""
    return f"row {place + 1} (counted from 1 below the header)"
