"""Counts out of a known total."""

from typing import Any, override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.binomial import Binomial as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import log_odds, moments
from ppvae.networks import Shape

LARGEST = 255
"""The largest value that counts as one out of an inferred total."""


class Binomial(Likelihood):
    """p(x | z) = prod_d C(n, x_d) l_d^x_d (1 - l_d)^(n - x_d): each element counts n trials.

    It is the sum of n `Bernoulli` draws with one logit, which the decoder gives. Scikit-learn's
    digits are such data: each pixel is the number of dark ones among 16.

    Args:
        data_shape: shape of one datum.
        total_count: n, the largest count.

    Raises:
        InputError: if the total is below 1.
    """

    support = constraints.integer_interval(0, 16)
    levels = 17

    def __init__(self, data_shape: Shape, total_count: int = 16) -> None:
        super().__init__(data_shape)
        if total_count < 1:
            raise InputError(f"`likelihood.total_count` is {total_count}; it must be at least 1")
        self.total_count = total_count
        self.support = constraints.integer_interval(0, total_count)
        self.levels = total_count + 1

    @override
    @classmethod
    def arguments_for(cls, x: Tensor) -> dict[str, Any] | None:
        total = int(x.max())
        if total < 1 or not constraints.integer_interval(0, LARGEST).check(x).all():
            return None
        return {} if total + 1 == cls.levels else {"total_count": total}

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        data = moments(x, mask)
        return log_odds(data.total, data.count * self.total_count).unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        return self._independent(Elements(self.total_count, logits))
