"""Counts that vary more than a Poisson's."""

from typing import Literal, get_args, override

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions.negative_binomial import NegativeBinomial as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.models.likelihoods.poisson import alike, inverse_log_rate, log_rate, marginal_log_rate
from ppvae.networks import Shape, inverse_positive, positive

LEAST, MOST = 0.1, 100.0
"""Range of the inverse dispersions at the start of training."""

Dispersion = Literal["gene", "gene-batch", "gene-cell"]
"""What shares one inverse dispersion r, by scVI's names."""


class NegativeBinomial(Likelihood):
    """p(x | z) = prod_d NB(x_d; mean m_d(z), variance m_d + m_d^2 / r_d): overdispersed counts.

    The parameterization is that of scVI (Lopez et al., 2018): the decoder gives log m, squashed
    smoothly into (-20, 20), and r is the inverse dispersion. For large r the element is a
    `Poisson`. By scVI's names, r is

    - "gene": learned, one number for each element of x, the same for all z and y.
    - "gene-batch": learned, one for each element of x and each class of y, such as batches of
      cells; if y is covariates, log r is linear in them. It needs a model that is conditional on y,
      such as `ppvae.models.ConditionalVAE`.
    - "gene-cell": given by the decoder, after log m.

    Args:
        data_shape: shape of one datum.
        dispersion: what shares one number r.
        y_size: number of classes, or of covariates, of y; 0 where the model is not conditional.

    Raises:
        InputError: for an unknown dispersion, or "gene-batch" without y.
    """

    support = constraints.nonnegative_integer

    def __init__(self, data_shape: Shape, dispersion: Dispersion = "gene", y_size: int = 0) -> None:
        super().__init__(data_shape)
        if dispersion not in get_args(Dispersion):
            raise InputError(
                f"`likelihood.dispersion` is '{dispersion}'; take one of "
                f"{', '.join(get_args(Dispersion))}"
            )
        if dispersion == "gene-batch" and y_size < 1:
            raise InputError(
                "`likelihood.dispersion` is 'gene-batch', one for each class of y, and the model "
                "is not conditional on y; take `model='ConditionalVAE'` and data with labels or "
                "covariates, or `likelihood.dispersion='gene'`"
            )
        self.dispersion = dispersion
        self.params_per_element = 2 if dispersion == "gene-cell" else 1
        self.log_r = nn.Parameter(torch.zeros(self.data_shape))
        is_by_y = dispersion == "gene-batch"
        self.log_r_by_y = nn.Parameter(torch.zeros(y_size, *self.data_shape)) if is_by_y else None

    @property
    def inverse_dispersion(self) -> Tensor:
        """r, between exp(-10) and exp(10), without the effects of z and y: ``data_shape``."""
        return positive(self.log_r)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.fit_scaled_marginal(x, x.new_ones(len(x)), mask)

    @override
    def fit_scaled_marginal(
        self, x: Tensor, size_factor: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        log_mean, s = marginal_log_rate(x, mask, size_factor), alike(size_factor, x).double()
        m, of_s = log_mean.exp(), moments(s, mask)
        # By moments, with mean s m and variance s m + (s m)^2 / r; without overdispersion the start
        # is nearly a Poisson.
        off = moments((x - s * moments(x, mask).total / of_s.total).square(), mask)
        beyond, square = off.mean - of_s.mean * m, m.square() * moments(s.square(), mask).mean
        r = square / torch.maximum(beyond, square / MOST)
        with torch.no_grad():
            self.log_r.copy_(inverse_positive(r.clamp(min=LEAST)))
        h = inverse_log_rate(log_mean).unsqueeze(0)
        return torch.cat([h, torch.zeros_like(h)]) if self.params_per_element == 2 else h

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        return self._of(h, None)

    @override
    def given(self, h: Tensor, y: Tensor) -> dist.TorchDistribution:
        if self.log_r_by_y is None:
            return self._of(h, None)
        by_y = (y.to(h) @ self.log_r_by_y.flatten(1)).unflatten(-1, self.data_shape)
        return self._of(h, by_y)

    def _of(self, h: Tensor, more: Tensor | None) -> dist.TorchDistribution:
        """The distribution with ``more`` added to the unbounded log r."""
        log_mean, *rest = self._split(h)
        log_r = self.log_r + rest[0] if rest else self.log_r
        log_r = log_r if more is None else log_r + more
        return self._independent(Elements(log_rate(log_mean), positive(log_r).log()))
