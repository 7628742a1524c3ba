"""Running mean and variance of tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Moments:
    """Mean and variance of a stream of named tensors, with two tensors per name (Welford, 1962).

    Attributes:
        count: the number of added tensors per name.
        mean: their mean, by name.
        squares: the sum of their squared deviations from it, coordinate by coordinate.
    """

    count: int = 0
    mean: dict[str, Tensor] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Add one of each; the tensors are not kept."""
        self.count += 1
        for name, value in tensors.items():
            if self.count == 1:
                self.mean[name] = torch.zeros_like(value)
                self.squares[name] = torch.zeros_like(value)
            before = value - self.mean[name]
            self.mean[name].add_(before, alpha=1 / self.count)
            self.squares[name].addcmul_(before, value - self.mean[name])

    def merge(self, other: "Moments") -> None:
        """Add all that ``other`` holds (Chan et al., 1979)."""
        if not other.count:
            return
        count = self.count + other.count
        for name, mean in other.mean.items():
            if not self.count:
                self.mean[name], self.squares[name] = mean.clone(), other.squares[name].clone()
                continue
            apart = mean - self.mean[name]
            self.squares[name] += other.squares[name]
            self.squares[name].addcmul_(apart, apart, value=self.count * other.count / count)
            self.mean[name].add_(apart, alpha=other.count / count)
        self.count = count

    @property
    def variance(self) -> dict[str, Tensor]:
        """Unbiased variance of each coordinate, by name; NaN for fewer than two."""
        return {
            name: squares / (self.count - 1)
            if self.count > 1
            else torch.full_like(squares, math.nan)
            for name, squares in self.squares.items()
        }
