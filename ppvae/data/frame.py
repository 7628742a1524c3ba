"""Rows as a model has them as a data frame: names, levels, and the units of the file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ppvae.data.columns import Column
from ppvae.data.scaling import Scaling

if TYPE_CHECKING:  # slow to import
    import pandas as pd


def as_frame(
    x: Tensor, columns: Sequence[Column], scaling: Scaling, mask: Tensor | None = None
) -> "pd.DataFrame":
    """Rows as the model has them in the units that they were read in, under the columns' names.

    Categories are their levels' names, and counts integers where all of them are whole; a mean of
    counts is not.

    Args:
        x: rows, ``(rows, D)``; of a category the number of its level.
        columns: the D columns.
        scaling: how raw values became x.
        mask: False where a cell stays empty, like x; ``None``: nowhere.
    """
    import pandas as pd

    raw = scaling.undo(x)
    raw = raw if mask is None else raw.masked_fill(~mask, torch.nan)
    cells = [_cells(raw[:, place], column) for place, column in enumerate(columns)]
    return pd.concat(cells, axis=1)  # not by a mapping: two columns may have one name


def _cells(raw: Tensor, column: Column) -> "pd.Series":
    import pandas as pd

    values = pd.Series(raw.numpy(), name=column.name)
    if column.kind == "category":
        codes = values.round().clip(0, len(column.levels) - 1)
        return codes.map(dict(enumerate(column.levels)))
    if column.kind == "count" and bool((values.dropna() % 1 == 0).all()):
        return values.astype("Int64")
    return values
