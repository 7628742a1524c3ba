"""Squared error as a likelihood, weighed by a variance that is given or learned."""

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.networks import Shape


class Gaussian(Likelihood):
    """p(x | z) = N(x; loc(z), c I): squared error, weighed by 1 / (2 c).

    The variance c sets reconstruction against the prior: the larger c, the more the prior counts.
    Learned, c is one positive number for all elements, kept above ``floor``: without one, a decoder
    that copies x sends c to 0 and the density to infinity. It is a density: log p(x) may be above
    zero, and changes with the unit of x.

    Args:
        data_shape: shape of one datum.
        variance: c, a number above zero, or "learned".
        floor: the smallest variance that learning may reach, in squared units of x.

    Raises:
        InputError: if the variance or the floor is not above zero.
    """

    support = constraints.real
    fixed: Tensor

    def __init__(
        self, data_shape: Shape, variance: float | Literal["learned"] = 1.0, floor: float = 1e-4
    ) -> None:
        super().__init__(data_shape)
        if floor <= 0:
            raise InputError(f"floor is {floor}; a variance is kept above a number greater than 0")
        self.floor = floor
        self.raw: nn.Parameter | None = None
        if isinstance(variance, str):
            if variance != "learned":
                raise InputError(f"variance is '{variance}'; give a number above 0, or 'learned'")
            # softplus(log(e - 1)) = 1: learning starts from c = 1 + floor.
            self.raw = nn.Parameter(torch.tensor(1.0).expm1().log())
        elif variance <= 0:
            raise InputError(f"variance is {variance}; give a number above 0, or 'learned'")
        else:
            self.register_buffer("fixed", torch.tensor(float(variance)), persistent=False)

    @property
    def variance(self) -> Tensor:
        """The variance c, in squared units of x: a scalar."""
        return self.fixed if self.raw is None else self.floor + F.softplus(self.raw)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (loc,) = self._split(h)
        fn: dist.TorchDistribution = dist.Normal(loc, self.variance.sqrt()).to_event(
            len(self.data_shape)
        )
        return fn
