"""Absolute error as a likelihood: outliers count in proportion, not squared."""

from typing import Literal, override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import absolute_deviation, median
from ppvae.models.likelihoods.positive_number import PositiveNumber
from ppvae.networks import Shape


class Laplace(Likelihood):
    """``p(x | z) = prod_d exp(-|x_d - loc_d(z)| / s) / (2 s)``: absolute error (Laplace, 1774).

    The decoder gives loc, which is median and mean. It is a density: log p(x) may be above zero,
    and changes with the unit of x.

    Args:
        data_shape: shape of one datum.
        scale: s, a number above zero; "learned", one for all elements; or "per-element".
        floor: the smallest learned scale, in units of x.

    Raises:
        InputError: if the scale or the floor is not above zero.
    """

    support = constraints.real

    def __init__(
        self,
        data_shape: Shape,
        scale: float | Literal["learned", "per-element"] = 1.0,
        floor: float = 1e-2,
    ) -> None:
        super().__init__(data_shape)
        self.scale = PositiveNumber("likelihood.scale", scale, floor, shape=self.data_shape)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        loc = median(x, mask)
        off = absolute_deviation(x, mask, loc, each=self.scale.is_per_element)
        self.scale.start_at(off)
        return loc.unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (loc,) = self._split(h)
        return self._independent(dist.Laplace(loc, self.scale()))
