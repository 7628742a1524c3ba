"""Intensities of 8-bit images: integer levels, scaled to [0, 1]."""

from typing import override

from torch import Tensor
from torch.distributions import constraints

TOLERANCE = 1e-2
"""Allowed distance to the grid, in levels: single precision cannot hold k / 255."""


class Grid(constraints.Constraint):
    """The multiples of 1 / (levels - 1) in [0, 1]: 8-bit intensities over 255, for 256 levels.

    Args:
        levels: number of levels.
    """

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels
        super().__init__()

    @override
    def check(self, value: Tensor) -> Tensor:
        level = value * (self.levels - 1)
        is_whole = (level - level.round()).abs() <= TOLERANCE
        return is_whole & (level >= -TOLERANCE) & (level <= self.levels - 1 + TOLERANCE)

    @override
    def __repr__(self) -> str:
        return f"Grid(levels={self.levels})"
