"""Poisson counts without the subtraction of large log-factorials."""

import math
from collections.abc import Sequence
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions.utils import broadcast_all

from ppvae.distributions.gamma_ratio import FAR, log_one_plus, stirling_rest


class Poisson(dist.Poisson):
    """P(x) = rate^x exp(-rate) / x!, accurate in single precision too.

    The three terms are of the size of x log x, and their sum of the size of log x: at a mean of
    100,000 single precision is 0.03 nats off, the same for all elements of a datum. With Stirling's
    series for x!, its small remainder r, and t = (rate - x) / x,

        log P(x) = x (log(1 + t) - t) - log(2 pi x) / 2 - r(x)

    has no large terms (Loader, 2000). It is used for x of at least 10.

    Args:
        rate: the mean, above zero.

    Shapes: elementwise.
    """

    def __init__(self, rate: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(rate, validate_args=validate_args)

    @override
    def expand(self, batch_shape: Sequence[int], _instance: "Poisson | None" = None) -> "Poisson":
        return Poisson(self.rate.expand(tuple(batch_shape)), validate_args=self._validate_args)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        few = value.xlogy(rate) - rate - (value + 1).lgamma()
        x = value.clamp(min=FAR)
        t = (rate - x) / x
        log_ratio = log_one_plus(t, rate.log() - x.log())
        many = x * (log_ratio - t) - 0.5 * (2 * math.pi * x).log() - stirling_rest(x)
        return torch.where(value < FAR, few, many)
