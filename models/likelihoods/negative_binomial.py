"""Counts that vary more than a Poisson's."""

from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions.negative_binomial import NegativeBinomial as Elements
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.models.likelihoods.poisson import inverse_log_rate, log_rate, marginal_log_rate
from ppvae.networks import Shape, inverse_positive, positive

LEAST, MOST = 0.1, 100.0
"""Inverse dispersions that training may start from."""


class NegativeBinomial(Likelihood):
    """p(x | z) = prod_d NB(x_d; mean m_d(z), variance m_d + m_d^2 / r_d): overdispersed counts.

    The parameterization is that of scVI (Lopez et al., 2018): the decoder gives log m, bent
    smoothly into (-20, 20), and the inverse dispersion r is learned, one number for each element of
    x, the same for all z. A large one makes the element a `Poisson`.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.nonnegative_integer

    def __init__(self, data_shape: Shape) -> None:
        super().__init__(data_shape)
        self.log_r = nn.Parameter(torch.zeros(self.data_shape))

    @property
    def inverse_dispersion(self) -> Tensor:
        """r, between exp(-10) and exp(10): ``data_shape``."""
        return positive(self.log_r)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        data, log_mean = moments(x, mask), marginal_log_rate(x, mask)
        m = log_mean.exp()
        # By moments; where they vary no more than a Poisson's, nearly one.
        r = m.square() / (data.variance - m).clamp(min=m.square() / MOST)
        with torch.no_grad():
            self.log_r.copy_(inverse_positive(r.clamp(min=LEAST)))
        return inverse_log_rate(log_mean).unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (h,) = self._split(h)
        return self._independent(Elements(log_rate(h), self.inverse_dispersion.log()))
