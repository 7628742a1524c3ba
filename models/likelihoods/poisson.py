"""Counts of rare and independent events."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.poisson import Poisson as Elements
from ppvae.models.likelihoods.likelihood import Likelihood

LIMIT = 20.0


def log_rate(h: Tensor) -> Tensor:
    """``h``, bent smoothly into (-20, 20): rates up to 480 million, and never infinite or 0."""
    return LIMIT * (h / LIMIT).tanh()


class Poisson(Likelihood):
    """p(x | z) = prod_d r_d^x_d exp(-r_d) / x_d!: counts from 0, whose variance is their mean.

    The decoder gives log r, bent smoothly into (-20, 20) (Gronbech et al., 2020, compare the
    likelihoods of counts in variational autoencoders). Counts that vary more ask for
    `NegativeBinomial`.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.nonnegative_integer

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (h,) = self._split(h)
        return self._independent(Elements(log_rate(h).exp()))
