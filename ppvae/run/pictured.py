"""Data for figures: columns by name, and NaN where nothing was observed."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.data.annotations import Annotations
from ppvae.data.frame import as_frame

if TYPE_CHECKING:
    from pandas import DataFrame

    from ppvae.plots import Columns
    from ppvae.run.run import Run


def columns_of(run: "Run") -> "Columns":
    """The columns of a run's table; without names if the data is not a table."""
    from ppvae.plots import Columns  # late: matplotlib takes a second to import

    columns = run.schema.columns
    if columns is None:
        return Columns()
    names, kinds = [column.name for column in columns], [column.kind for column in columns]
    found = Columns(names, len(names) > 1, kinds, [column.levels for column in columns])
    return replace(found, is_mixed=False) if found.is_counts else found


def in_units(run: "Run", x: Any) -> Any:
    """Rows of a table in the units of its columns; levels of categories as numbers.

    Args:
        run: the run.
        x: rows ``(..., D)`` as the model sees them; NaN stays NaN.
    """
    rows = np.asarray(x, dtype=np.float64)
    if run.schema.columns is None:
        return rows
    seen = np.isfinite(rows)
    raw = run.scaling.undo(torch.from_numpy(np.where(seen, rows, 0.0))).numpy()
    return np.where(seen, raw, np.nan)


def observed(batch: Batch) -> Any:
    """x, with NaN where it was not observed."""
    x = batch["x"].cpu().numpy()
    return np.where(batch["mask"].cpu().numpy(), x, np.nan) if "mask" in batch else x


def table_of(run: "Run", x: Tensor, rows: Annotations | None = None) -> "DataFrame | None":
    """Rows with the units and names of the run's table; ``None`` if the data is not a table.

    Args:
        run: the run.
        x: rows as the model sees them.
        rows: their numbers and names; ``None`` for drawn rows.
    """
    columns = run.schema.columns
    if columns is None:
        return None
    table = as_frame(x.cpu(), columns, run.scaling)
    if rows is None:
        return table
    index, name = (rows.numbers.numpy(), "row") if rows.index is None else (rows.index, "name")
    while name in table.columns:
        name += "_"
    return table.set_axis(index).rename_axis(name)
