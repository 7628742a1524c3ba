"""Errors with heavy tails: the cost of an outlier grows like the logarithm of its size."""

import math
from typing import Literal, override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.student_t import StudentT as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import absolute_deviation, median
from ppvae.models.likelihoods.positive_number import PositiveNumber
from ppvae.networks import Shape

LEAST = 1.01
"""Lower limit of learned degrees of freedom: at 1, Cauchy's, there is no mean."""


class StudentT(Likelihood):
    """p(x | z) = prod_d t(x_d; df, loc_d(z), s): robust to outliers (Lange et al., 1989).

    The fewer the degrees of freedom, the heavier the tails; with many it is the `Gaussian` of
    variance s^2. The decoder gives loc (Takahashi et al., 2018, for such a decoder in a variational
    autoencoder). It is a density: log p(x) may be above zero, and changes with the unit of x.

    Args:
        data_shape: shape of one datum.
        df: degrees of freedom, a number above 1; "learned", one for all elements; or
            "per-element".
        scale: s, a number above zero; "learned", one for all elements; or "per-element".
        floor: the smallest learned scale, in units of x.

    Raises:
        InputError: if the degrees of freedom are not above 1, or the scale or the floor not above
            zero.
    """

    support = constraints.real

    def __init__(
        self,
        data_shape: Shape,
        df: float | Literal["learned", "per-element"] = 4.0,
        scale: float | Literal["learned", "per-element"] = 1.0,
        floor: float = 1e-2,
    ) -> None:
        super().__init__(data_shape)
        if not isinstance(df, str) and not df > 1:
            raise InputError(
                f"`likelihood.df` is {df}; Student's t has no mean at 1 degree of freedom and "
                "below: give a number above 1, 'learned' or 'per-element'"
            )
        shape = self.data_shape
        self.df = PositiveNumber("likelihood.df", df, LEAST, start=3.0, shape=shape)
        self.scale = PositiveNumber("likelihood.scale", scale, floor, shape=shape)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        loc, half = median(x, mask), self.df().double() / 2
        # E|t| at scale 1, which is finite above 1 degree of freedom.
        log_mean = (half + 0.5).lgamma() - half.lgamma() + (2 * half / math.pi).log() / 2
        unit = log_mean.exp() / (half - 0.5)
        off = absolute_deviation(x, mask, loc, each=self.scale.is_per_element)
        self.scale.start_at(off / unit)
        return loc.unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (loc,) = self._split(h)
        return self._independent(Elements(self.df(), loc, self.scale()))
