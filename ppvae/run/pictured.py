"""Data as people read them: columns by name, and nothing where nothing was observed."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ppvae.data import Batch
from ppvae.data.annotations import Annotations
from ppvae.data.frame import as_frame

if TYPE_CHECKING:
    from pandas import DataFrame

    from ppvae.plots import Columns
    from ppvae.run.run import Run


def columns_of(run: "Run") -> "Columns":
    """The columns of a run's table; without names where the data is none."""
    from ppvae.plots import Columns  # late: matplotlib takes a second to import

    columns = run.schema.columns
    if columns is None:
        return Columns()
    # Standardized, numbers of any kind are on one scale.
    scale = run.scaling.scale or ()
    as_read = {c.kind for i, c in enumerate(columns) if len(scale) <= i or scale[i] == 1.0}
    kinds = {column.kind for column in columns}
    is_mixed = len(kinds) > 1 and bool(as_read - {"real"})
    return Columns([column.name for column in columns], is_mixed)


def observed(batch: Batch) -> Any:
    """x, and NaN where it was not observed."""
    x = batch["x"].cpu().numpy()
    return np.where(batch["mask"].cpu().numpy(), x, np.nan) if "mask" in batch else x


def table_of(run: "Run", x: Tensor, rows: Annotations | None = None) -> "DataFrame | None":
    """Rows in the units and under the names of the run's table; ``None`` where it has none.

    Args:
        run: the run.
        x: rows as its model has them.
        rows: which these are; ``None``: drawn ones.
    """
    columns = run.schema.columns
    if columns is None:
        return None
    table = as_frame(x.cpu(), columns, run.scaling)
    if rows is None:
        return table
    index = rows.numbers.numpy() if rows.index is None else rows.index
    return table.set_axis(index).rename_axis("row")
