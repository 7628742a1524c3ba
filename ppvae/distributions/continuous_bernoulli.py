"""An exponential density truncated to [0, 1], exact at any logit."""

from collections.abc import Sequence
from typing import ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

SMALL = 0.3
"""Where |u| is smaller, the closed forms cancel, and series in u are exact to double precision."""


class ContinuousBernoulli(dist.TorchDistribution):
    """p(x) = C exp(logits x) on [0, 1] (Loaiza-Ganem and Cunningham, 2019).

    With u = logits / 2, log p(x) = 2 u (x - 1/2) - log(sinh(u) / u), the mean is
    1/2 + (coth(u) - 1/u) / 2, and the variance (1/u^2 - 1/sinh(u)^2) / 4. Torch's version clips the
    logit in its constant, at 16 in single precision; beyond that it is not a density.

    Args:
        logits: log-odds of the Bernoulli whose mass function has the same form.

    Shapes: elementwise.
    """

    arg_constraints: ClassVar = {"logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "ContinuousBernoulli | None" = None
    ) -> "ContinuousBernoulli":
        logits = self.logits.expand(torch.Size(batch_shape))
        return ContinuousBernoulli(logits, validate_args=self._validate_args)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.logits * (value - 0.5) - _log_sinhc(self.logits / 2)

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            # The distance from the likelier end is exponential, truncated at 1: by inverse cdf.
            rate = self.logits.abs().clamp(min=torch.finfo(self.logits.dtype).eps)
            distance = (-(u * (-rate).expm1()).log1p() / rate).clamp(0, 1)
            return torch.where(self.logits > 0, 1 - distance, distance)

    @property
    def mean(self) -> Tensor:
        """The expected value, which is not the sigmoid of the logits."""
        u = self.logits / 2
        far = _far(u)
        large = 1 / far.tanh() - 1 / far
        square = u.square()
        series = 1 / 4725 - square * (2 / 93555 - square * 1382 / 638512875)
        small = u * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square * series)))
        return 0.5 + torch.where(u.abs() < SMALL, small, large) / 2

    @property
    def variance(self) -> Tensor:
        """The variance, 1/12 at a logit of 0."""
        u = self.logits / 2
        size = _far(u).abs()
        # 1/sinh(u)^2, which may underflow, without a sinh that overflows.
        shrunk = (-2 * size).exp()
        large = size.square().reciprocal() - 4 * shrunk / (1 - shrunk).square()
        square = u.square()
        series = 2 / 10395 - square * (1382 / 58046625 - square * 4 / 1403325)
        small = 1 / 3 - square * (
            1 / 15 - square * (2 / 189 - square * (1 / 675 - square * series))
        )
        return torch.where(u.abs() < SMALL, small, large) / 4


def _log_sinhc(u: Tensor) -> Tensor:
    """The logarithm of sinh(u) / u."""
    size = _far(u).abs()
    large = size + (-(-2 * size).expm1()).log() - (2 * size).log()
    square = u.square()
    series = 1 / 2835 - square * (1 / 37800 - square * (1 / 467775 - square * 691 / 3831077250))
    small = square * (1 / 6 - square * (1 / 180 - square * series))
    return torch.where(u.abs() < SMALL, small, large)


def _far(u: Tensor) -> Tensor:
    """A value u away from zero, where closed forms are unused but need a finite gradient."""
    return torch.where(u.abs() < SMALL, SMALL, u)
