"""The running mean of a number that each training batch computes, for evaluation."""

import torch
from torch import Tensor, nn

from ppvae.errors import InputError


class RunningMean(nn.Module):
    """A running mean, kept in buffers as in batch normalization; called, a scalar.

    The first numbers are averaged evenly, until each new one weighs ``momentum``.

    Args:
        momentum: weight of the newest number, above 0 and at most 1.
        floor: the smallest value returned.

    Raises:
        InputError: if the momentum is out of its range.
    """

    mean: Tensor
    count: Tensor

    def __init__(self, momentum: float, floor: float) -> None:
        super().__init__()
        check_momentum(momentum)
        self.momentum, self.floor = momentum, floor
        self.register_buffer("mean", torch.ones(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, value: Tensor) -> None:
        """Add another number."""
        self.count.add_(1)
        weight = self.count.to(self.mean.dtype).reciprocal().clamp(min=self.momentum)
        self.mean.lerp_(value.to(self.mean.dtype), weight)

    @torch.no_grad()
    def start_at(self, value: Tensor) -> None:
        """Be ``value`` until the first number is added."""
        self.mean.copy_(value)

    def forward(self) -> Tensor:
        return self.mean.clamp(min=self.floor)


def check_momentum(momentum: float) -> None:
    """Refuse a weight outside of (0, 1]."""
    if not 0 < momentum <= 1:
        raise InputError(f"`likelihood.momentum` is {momentum}; it must be above 0 and at most 1")
