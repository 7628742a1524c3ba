"""A model's rows as a data frame: names, levels, and the units of the file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from ppvae.data.columns import Column, ColumnKind
from ppvae.data.scaling import Scaling

if TYPE_CHECKING:  # slow to import
    import pandas as pd


def as_frame(
    x: Tensor, columns: Sequence[Column], scaling: Scaling, mask: Tensor | None = None
) -> "pd.DataFrame":
    """A model's rows in the units in which they were read, under the columns' names.

    Categories are their levels' names. Counts are integers if all of them are whole, as in draws
    but not in means.

    Args:
        x: rows, ``(rows, D)``; for a category the number of its level.
        columns: the D columns.
        scaling: the scaling of raw values to x.
        mask: False where a cell stays empty, like x; ``None``: nowhere.
    """
    import pandas as pd

    raw = scaling.readable(x)
    raw = raw if mask is None else raw.masked_fill(~mask, torch.nan)
    values = pd.DataFrame(raw.numpy())  # columns by position, as two may have one name
    kinds = [column.kind for column in columns]
    of = {kind: [i for i, own in enumerate(kinds) if own == kind] for kind in get_args(ColumnKind)}
    counts = values[of["count"]]
    if bool((counts.isna() | (counts % 1 == 0)).all(axis=None)):
        counts = counts.astype("Int64")
    levels = [_levels(values[place], columns[place]) for place in of["category"]]
    frame = pd.concat([values[of["real"]], counts, *levels], axis=1).sort_index(axis=1)
    frame.columns = [column.name for column in columns]
    return frame


def _levels(codes: "pd.Series", column: Column) -> "pd.Series":
    known = codes.round().clip(0, len(column.levels) - 1)
    return known.map(dict(enumerate(column.levels))).astype(object)
