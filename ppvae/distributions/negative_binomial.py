"""Counts that vary more than a Poisson's, by their mean and inverse dispersion."""

import math
from collections.abc import Sequence
from typing import ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn import functional as F

from ppvae.distributions.gamma_ratio import FAR, log_gamma_ratio, log_one_plus, stirling_rest


class NegativeBinomial(dist.TorchDistribution):
    """A Poisson whose rate is Gamma(r, r / m): the mean is m, the variance m + m^2 / r.

    log P(x) = log Gamma(r + x) / (Gamma(r) x!) + x log(m / (r + m)) + r log(r / (r + m)), which for
    large r is the Poisson's. Where r or x is below 10, the ratio of gamma functions is taken by the
    smaller of the two, and no large terms are subtracted. Where neither is, Stirling's series for
    all three, with its small remainder s, leaves

        x log(1 + r (m - x) / (x (r + m))) - r log(1 + (m - x) / (r + x))
        - log(2 pi x (1 + x / r)) / 2 + s(r + x) - s(r) - s(x),

    as in `ppvae.distributions.poisson.Poisson`, its limit. So single precision suffices.

    Args:
        log_mean: log m.
        log_inverse_dispersion: log r.

    Shapes: elementwise; the two broadcast.
    """

    arg_constraints: ClassVar = {
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
        is_few = torch.minimum(r, value) < FAR
        return torch.where(is_few, self._of_few(value, r), self._of_many(value, r))

    def _of_few(self, x: Tensor, r: Tensor) -> Tensor:
        """Log P(x) where r or x is small."""
        by_r = log_gamma_ratio(x + 1, r - 1) - r.lgamma()
        by_x = log_gamma_ratio(r, x) - (x + 1).lgamma()
        logits = self.log_mean - self.log_inverse_dispersion
        counted = torch.where(r < x, by_r, by_x)
        return counted + x * F.logsigmoid(logits) - r * F.softplus(logits)

    def _of_many(self, x: Tensor, r: Tensor) -> Tensor:
        """Log P(x) where neither is small; elsewhere any finite value."""
        x, r = x.clamp(min=FAR), r.clamp(min=FAR)
        m, log_odds = self.log_mean.exp(), self.log_mean - r.log()
        of_x = log_one_plus((m - x) / x / (1 + m / r), F.logsigmoid(log_odds) + (r / x).log1p())
        of_r = log_one_plus((m - x) / (r + x), F.softplus(log_odds) - (x / r).log1p())
        width = 0.5 * (2 * math.pi * x * (1 + x / r)).log()
        rest = stirling_rest(r + x) - stirling_rest(r) - stirling_rest(x)
        return x * of_x - r * of_r - width + rest

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
