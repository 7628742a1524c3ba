"""Range and kind of raw values, which determine their scaling."""

import math
from dataclasses import dataclass
from typing import final

import torch

from ppvae.data.disk_rows import DiskRows, surveyed
from ppvae.data.image_rows import ImageRows
from ppvae.data.rows import Rows


@final
@dataclass(frozen=True)
class ValueRange:
    """Range and kind of the raw values of all parts.

    Args:
        lowest: the smallest value.
        highest: the largest value.
        is_whole: whether all are whole numbers.
        is_float: whether they are stored as floats.
        is_bytes: whether they are stored as bytes.
        is_table: whether a row is a vector.
    """

    lowest: float
    highest: float
    is_whole: bool
    is_float: bool
    is_bytes: bool
    is_table: bool

    @property
    def is_count(self) -> bool:
        """Whether all are whole numbers from 0."""
        return self.is_whole and self.lowest >= 0

    @property
    def is_binary(self) -> bool:
        """Whether all are 0 or 1."""
        return self.is_count and self.highest <= 1

    @property
    def is_unit(self) -> bool:
        """Whether all are in [0, 1]."""
        return self.lowest >= 0 and self.highest <= 1

    @property
    def is_like_pixels(self) -> bool:
        """Whether they range from 0 to near 255, as 8-bit grey levels do."""
        return self.lowest >= 0 and 100 < self.highest <= 255


def value_range(parts: dict[str, Rows]) -> ValueRange:
    """The range of all observed values, chunk by chunk; images on disk are not read."""
    some = next(iter(parts.values()))
    if isinstance(some, ImageRows):  # images are many, and all alike
        return ValueRange(0, 255, is_whole=True, is_float=False, is_bytes=True, is_table=False)
    lowest, highest, is_whole = math.inf, -math.inf, True
    for survey in surveyed(parts).values():
        lowest = min(lowest, float(survey.lowest.min()))
        highest = max(highest, float(survey.highest.max()))
        is_whole = is_whole and survey.is_whole
    for rows in parts.values():
        if isinstance(rows, DiskRows):
            continue
        for values in rows.observed():
            if values.numel() == 0:
                continue
            low, high = torch.aminmax(
                values.to(torch.uint8) if some.dtype == torch.bool else values
            )
            lowest, highest = min(lowest, float(low)), max(highest, float(high))
            if values.is_floating_point():
                is_whole = is_whole and bool((values == values.floor()).all())
    return ValueRange(
        lowest,
        highest,
        is_whole,
        is_float=some.dtype.is_floating_point,
        is_bytes=some.dtype == torch.uint8,
        is_table=len(some.shape) < 2,
    )
