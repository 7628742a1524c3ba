"""Size factors, which multiply the mean of a row's counts outside of the network."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppvae.data.disk_rows import DiskRows
from ppvae.data.progress import passing
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.source import Source
from ppvae.errors import InputError


def with_totals(source: Source, unit: float | None = None) -> Source:
    """Return a source with the sum of each row, divided by their mean, as its size factor.

    Args:
        source: rows that are not negative.
        unit: the divisor of a fit's sums; default: the mean over the training rows.

    Raises:
        InputError: for image files, or rows whose sum is not above 0.
    """
    odd = [column.name for column in source.columns or () if column.kind == "real" or
           (column.levels and column.levels != ("0", "1"))]  # fmt: skip
    if odd:
        raise InputError(
            f"{source.where}: `size_factor='total'` sums counts, and column {', '.join(odd[:5])} "
            f"holds none: give it another part, or give a column of size factors."
        )
    sums = {part: _sums(rows, source.where) for part, rows in source.published().items()}
    unit = float(sums["train"].mean()) if unit is None else unit
    parts: dict[str, Any] = {
        part: replace(rows, size_factor=(sums[part] / unit).to(torch.float32))
        for part, rows in source.published().items()
        if isinstance(rows, ArrayRows | DiskRows)
    }
    return replace(source, **parts, size_unit=unit)


def _sums(rows: Rows, where: str) -> Tensor:
    if not isinstance(rows, ArrayRows | DiskRows):
        raise InputError(
            f"`size_factor='total'` sums rows of counts, and {where} holds image files: "
            f"leave it out."
        )
    each = []
    with passing("totals of rows", len(rows)) as count:
        for chunk in rows.chunks():
            x = chunk["x"].masked_fill(~chunk["mask"], 0) if "mask" in chunk else chunk["x"]
            each.append(x.flatten(1).sum(1, dtype=torch.float64))
            count(len(x))
    sums = torch.cat(each)
    wrong = (~(sums > 0)).nonzero()[:, 0]
    if len(wrong):
        raise InputError(
            f"{where}: the total of {rows.annotations.called(int(wrong[0]))} is "
            f"{float(sums[wrong[0]]):g}, and that of {len(wrong)} rows is not above 0: drop such "
            f"rows, or give `size_factor='none'`."
        )
    return sums
