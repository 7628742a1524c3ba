"""Weighted moments of draws that arrive in chunks, and draws by weight."""

import math

import torch
from torch import Tensor


class WeightedMoments:
    """Weighted moments of x, and draws by weight, from draws that arrive in chunks.

    Sums are in units of the largest weight so far, and about the mean of the first chunk, so that a
    small variance is not the difference of large numbers.

    Attributes:
        chosen: draws by weight: ``(draws, data, elements)``.
    """

    chosen: Tensor
    _top: Tensor
    _pivot: Tensor
    _sums: Tensor
    _squares: Tensor
    _key: Tensor

    def __init__(self, draws: int) -> None:
        self._draws = draws
        self._is_new = True

    def add(self, log_weight: Tensor, mean: Tensor, variance: Tensor, drawn: Tensor) -> None:
        """Add draws: log-weights ``(particles, data)``, others ``(particles, data, elements)``."""
        if self._is_new:
            self._start(log_weight, mean)
        top = torch.maximum(self._top, log_weight.amax(0))
        shrink = (self._top - top).exp()[:, None]
        weight = (log_weight - top).exp()[..., None]
        off = mean - self._pivot
        terms = (torch.ones_like(off), off, off.square(), variance)
        self._top = top
        self._sums = self._sums * shrink + _summed(weight, terms)
        self._squares = self._squares * shrink.square() + _summed(weight.square(), terms[:3])
        self._choose(log_weight, drawn)

    def _start(self, log_weight: Tensor, mean: Tensor) -> None:
        rows = mean.shape[1:]
        self._top = torch.full_like(log_weight[0], -math.inf)
        self._pivot = _summed(log_weight.softmax(0)[..., None], (mean,))[0]
        self._sums, self._squares = mean.new_zeros(4, *rows), mean.new_zeros(3, *rows)
        self._key = log_weight.new_full((self._draws, len(self._top)), -math.inf)
        self.chosen = mean.new_full((self._draws, *rows), math.nan)
        self._is_new = False

    def _choose(self, log_weight: Tensor, drawn: Tensor) -> None:
        """Draw by weight: log-weights with Gumbel noise are largest with that probability."""
        noise = -torch.empty_like(log_weight.expand(self._draws, -1, -1)).exponential_().log()
        key, index = (log_weight + noise).max(1)
        fresh = drawn[index, torch.arange(drawn.shape[1], device=drawn.device)]
        is_larger = key > self._key
        self.chosen = torch.where(is_larger[..., None], fresh.to(self.chosen), self.chosen)
        self._key = torch.where(is_larger, key, self._key)

    @property
    def ess(self) -> Tensor:
        """(sum w)^2 / sum w^2: ``(data,)``."""
        total, squares = self._sums[0, :, 0], self._squares[0, :, 0]
        return total.square() / squares

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, standard deviation and standard error of the mean: ``(data, elements)`` each."""
        total, first, second, within = self._sums
        mean = first / total
        between = (second / total - mean.square()).clamp(min=0)
        ones, once, twice = self._squares
        square = (twice - 2 * mean * once + mean.square() * ones).clamp(min=0)
        return self._pivot + mean, (within / total + between).sqrt(), square.sqrt() / total


def _summed(weight: Tensor, terms: tuple[Tensor, ...]) -> Tensor:
    """Weighted sums over draws; a term of weight 0 does not count, even if it is infinite."""
    sums = [(weight * term).where(weight > 0, 0).sum(0) for term in terms]
    return torch.stack(sums)
