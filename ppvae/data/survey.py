"""The result of one pass over rows on disk: ranges, moments, and unusable numbers."""

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Extremes
from ppvae.data.tensors import LARGEST_COUNT

_NOTHING = torch.zeros(1, dtype=torch.float64)


@final
@dataclass(eq=False)
class Survey:
    """Statistics of some rows, per column of a table, else of all values together.

    Means and squares of chunks are combined by the formula of Chan, Golub and LeVeque (1979).

    Args:
        rows: number of rows.
        count: number of observed values of each column, ``(columns,)`` or ``(1,)``.
        mean: their means.
        squares: sums of squared distances from the mean.
        lowest: the smallest.
        highest: the largest.
        is_whole: whether all are whole numbers.
        wrong: number of rows with a value that float32 cannot hold.
        first_wrong: the first of these, by its number in the file.
    """

    rows: int = 0
    count: Tensor = field(default=_NOTHING)
    mean: Tensor = field(default=_NOTHING)
    squares: Tensor = field(default=_NOTHING)
    lowest: Tensor = field(default=_NOTHING + math.inf)
    highest: Tensor = field(default=_NOTHING - math.inf)
    is_whole: bool = True
    wrong: int = 0
    first_wrong: int = -1

    def add(self, chunk: Batch, numbers: Tensor) -> None:
        """Add a chunk with the rows of these numbers in the file."""
        if len(numbers) == 0:
            return
        self.rows += len(numbers)
        x, mask = chunk["x"], chunk.get("mask")
        self._check(x, mask, numbers)
        if x.is_floating_point() and self.is_whole:
            whole = x == x.floor()
            self.is_whole = bool((whole if mask is None else whole | ~mask).all())
        x = x.flatten(1).to(torch.float64)
        x = x if x.shape[1:] == chunk["x"].shape[1:] else x.reshape(-1, 1)
        if mask is None:
            low, high = torch.aminmax(x, dim=0)
            count, mean = torch.full_like(low, len(x)), x.mean(0)
            squares = (x - mean).square().sum(0)
        else:
            seen = mask.reshape(x.shape)
            low = x.masked_fill(~seen, math.inf).amin(0)
            high = x.masked_fill(~seen, -math.inf).amax(0)
            count = seen.sum(0, dtype=torch.float64)
            mean = x.masked_fill(~seen, 0).sum(0) / count.clamp(min=1)
            squares = (x - mean).masked_fill(~seen, 0).square().sum(0)
        self._merge(count, mean, squares)
        self.lowest, self.highest = self.lowest.minimum(low), self.highest.maximum(high)

    @property
    def is_observed(self) -> bool:
        """Whether anything was observed."""
        return bool((self.count > 0).any())

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, which are exact for constant columns."""
        is_constant = self.lowest == self.highest
        deviation = (self.squares / self.count.clamp(min=1)).sqrt()
        mean = torch.where(is_constant, self.lowest, self.mean)
        return mean, deviation.masked_fill(is_constant, 0)

    def extremes(self, scaling: Scaling) -> Extremes:
        """The range of the numbers after scaling."""
        seen = self.count > 0
        low, high = scaling.apply(torch.stack([self.lowest, self.highest]).where(seen, 0))
        is_same = scaling.loc is None and scaling.scale is None and scaling.kind != "8-bit"
        return Extremes(
            float(low.where(seen, math.inf).min()),
            float(high.where(seen, -math.inf).max()),
            is_whole=self.is_whole and is_same,
        )

    def _check(self, x: Tensor, mask: Tensor | None, numbers: Tensor) -> None:
        if x.is_floating_point():
            fine = x.isfinite()
        elif x.dtype == torch.int64:
            fine = (x >= -LARGEST_COUNT) & (x <= LARGEST_COUNT)
        else:
            return
        fine = fine if mask is None else fine | ~mask
        wrong = numbers[~fine.flatten(1).all(1)]
        if len(wrong) and not self.wrong:
            self.first_wrong = int(wrong[0])
        self.wrong += len(wrong)

    def _merge(self, count: Tensor, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        share = count / total.clamp(min=1)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart.square() * self.count * share
        self.mean, self.count = self.mean + apart * share, total
