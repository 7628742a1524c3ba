"""Counts that vary more than a Poisson's, by their mean and how much more."""

from collections.abc import Sequence
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn import functional as F

from ppvae.distributions.gamma_ratio import log_gamma_ratio

__all__ = ["NegativeBinomial"]


class NegativeBinomial(dist.TorchDistribution):
    """A Poisson whose rate is Gamma(r, r / m): the mean is m, the variance m + m^2 / r.

    log P(x) = log Gamma(r + x) / (Gamma(r) x!) + x log(m / (r + m)) + r log(r / (r + m)), which
    for large r is the Poisson's, in single precision too.

    Args:
        log_mean: log m.
        log_inverse_dispersion: log r.

    Shapes: elementwise; the two broadcast.
    """

    arg_constraints = {  # noqa: RUF012  (torch's own way)
        "log_mean": constraints.real, "log_inverse_dispersion": constraints.real
    }  # fmt: skip
    support = constraints.nonnegative_integer

    def __init__(
        self,
        log_mean: Tensor,
        log_inverse_dispersion: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.log_mean, self.log_inverse_dispersion = broadcast_all(log_mean, log_inverse_dispersion)
        super().__init__(self.log_mean.shape, validate_args=validate_args)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "NegativeBinomial | None" = None
    ) -> "NegativeBinomial":
        shape = torch.Size(batch_shape)
        return NegativeBinomial(
            self.log_mean.expand(shape),
            self.log_inverse_dispersion.expand(shape),
            validate_args=self._validate_args,
        )

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        r = self.log_inverse_dispersion.exp()
        logits = self.log_mean - self.log_inverse_dispersion
        counted = log_gamma_ratio(r, value) - (value + 1).lgamma()
        return counted + value * F.logsigmoid(logits) - r * F.softplus(logits)

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            r, shape = self.log_inverse_dispersion.exp(), torch.Size(sample_shape)
            rate: Tensor = dist.Gamma(r, r / self.log_mean.exp()).sample(shape)
            return torch.poisson(rate)

    @property
    def mean(self) -> Tensor:
        """The expected count m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """The variance m + m^2 / r."""
        m = self.mean
        return m + (2 * self.log_mean - self.log_inverse_dispersion).exp()
