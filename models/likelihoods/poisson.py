"""Counts of rare and independent events."""

from typing import override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.poisson import Poisson as Elements
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments

LIMIT = 20.0


def log_rate(h: Tensor) -> Tensor:
    """``h``, squashed smoothly into (-20, 20): rates up to 480 million, and never infinite or 0."""
    return LIMIT * (h / LIMIT).tanh()


def inverse_log_rate(log_rate: Tensor) -> Tensor:
    """The inverse of `log_rate`."""
    return LIMIT * (log_rate / LIMIT).atanh()


def marginal_log_rate(x: Tensor, mask: Tensor | None, size_factor: Tensor | None = None) -> Tensor:
    """The logarithm of each element's mean count, finite as one row of half an event is added.

    With size factors it is the mean per unit of them: all events over all units, the maximum
    likelihood estimate of a Poisson's rate.
    """
    data = moments(x, mask)
    units = data.count if size_factor is None else moments(alike(size_factor, x), mask).total
    return (data.total + 0.5).log() - (units + 1).log()


def alike(size_factor: Tensor, x: Tensor) -> Tensor:
    """The size factor of each element of ``x``, in the shape of x."""
    return size_factor.reshape(-1, *(1,) * (x.dim() - 1)).expand_as(x)


class Poisson(Likelihood):
    """p(x | z) = prod_d r_d^x_d exp(-r_d) / x_d!: counts from 0, whose variance is their mean.

    The decoder gives log r, squashed smoothly into (-20, 20) (Gronbech et al., 2020, compare the
    likelihoods of counts in variational autoencoders). For counts that vary more take
    `NegativeBinomial`.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.nonnegative_integer

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return inverse_log_rate(marginal_log_rate(x, mask)).unsqueeze(0)

    @override
    def fit_scaled_marginal(
        self, x: Tensor, size_factor: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return inverse_log_rate(marginal_log_rate(x, mask, size_factor)).unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (h,) = self._split(h)
        return self._independent(Elements(log_rate(h).exp()))
