"""Moments of each element of data over the rows where it was observed."""

from dataclasses import dataclass

import torch
from torch import Tensor

NARROWEST = 0.1
"""Smallest deviation of an element, relative to the pooled one, as a constant element has none."""


@dataclass(frozen=True)
class Moments:
    """Moments of each element of x over the rows, in the shape of a row, in double precision.

    Attributes:
        count: number of rows in which it was observed.
        total: the sum of its values.
        mean: their mean; without values, the mean of all elements.
        variance: their mean square about the mean.
    """

    count: Tensor
    total: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def pooled_variance(self) -> Tensor:
        """The mean of the elements' variances, weighted by their numbers of rows: a scalar."""
        return (self.count * self.variance).sum() / self.count.sum()

    @property
    def deviation(self) -> Tensor:
        """The standard deviation of each element, at least `NARROWEST` of the pooled one."""
        return self.variance.sqrt().clamp(min=NARROWEST * self.pooled_variance.sqrt())


def moments(x: Tensor, mask: Tensor | None) -> Moments:
    """The moments of data ``x``, ``(n, ...)``, where ``mask`` is True; ``None``: everywhere."""
    seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    values = x.double().where(seen, 0)
    count, total = seen.double().sum(0), values.sum(0)
    mean = torch.where(count > 0, total / count, total.sum() / count.sum())
    square = (values - mean).square().where(seen, 0).sum(0)
    return Moments(count, total, mean, square / count.clamp(min=1))


def median(x: Tensor, mask: Tensor | None) -> Tensor:
    """The median of each element, the lower one of two; 0 where there are no values."""
    values = x.double() if mask is None else x.double().where(mask, torch.nan)
    return values.nanmedian(0).values.nan_to_num()


def absolute_deviation(x: Tensor, mask: Tensor | None, loc: Tensor, *, each: bool) -> Tensor:
    """The mean of |x - loc| over observed values: a scalar, or for ``each`` element its own."""
    off = moments((x.double() - loc).abs(), mask)
    pooled = (off.total / off.count.sum()).sum()
    return off.mean.clamp(min=NARROWEST * pooled) if each else pooled


def log_odds(successes: Tensor, trials: Tensor) -> Tensor:
    """The logit of a proportion, finite because half a success and half a failure are added."""
    return (successes + 0.5).log() - (trials - successes + 0.5).log()
