"""Grey values in [0, 1], with the normalized density of the form of a Bernoulli's probability."""

from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.networks import Shape, is_positive


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_d C(l_d) l_d^x_d (1 - l_d)^(1 - x_d) on [0, 1]: grey values unchanged.

    The constant C makes it a density (Loaiza-Ganem and Cunningham, 2019), so log p(x) may be above
    zero. The decoder gives the logit of l, which is not the mean, squashed smoothly to below
    ``limit`` in size: without one, the logit of a pixel that is always black goes to infinity, and
    the density too. At a limit of 100 the density falls by e over 1 / 100 of the range.

    Args:
        data_shape: shape of one datum.
        limit: the largest logit.

    Raises:
        InputError: if the limit is not above zero.
    """

    support = constraints.unit_interval

    def __init__(self, data_shape: Shape, limit: float = 100.0) -> None:
        super().__init__(data_shape)
        if not is_positive(limit):
            raise InputError(f"`likelihood.limit` is {limit}; it must be above 0")
        self.limit = limit

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mean, ends = moments(x, mask).mean, torch.full_like(x[0], 0.9 * self.limit).double()
        low, high = -ends, ends
        for _ in range(60):  # the mean rises with the logit
            middle = (low + high) / 2
            is_below = Elements(middle).mean < mean
            low, high = middle.where(is_below, low), high.where(is_below, middle)
        return self.limit * (low / self.limit).atanh().unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        return self._independent(Elements(self.limit * (logits / self.limit).tanh()))
