"""p(x | z): everything about observation, and nothing about networks.

A likelihood says how many numbers per element of x the decoder must give (``decoder_shape``),
which values of x it accepts (``support``), and, called on the decoder's output, the distribution of
one datum, whose ``mean`` is what pictures show.

Shapes: the decoder gives ``(..., numbers, *data_shape)``; the distribution has event shape
``data_shape``. Log-densities are in nats.
"""

from abc import ABC, abstractmethod
from typing import Literal, cast

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.networks import Shape


class Likelihood(nn.Module, ABC):
    """The distribution of one datum of ``data_shape``, given what the decoder says of it.

    Attributes:
        numbers: how many numbers per element of x the decoder must give.
        support: the values that one element of x may take.
    """

    numbers: int = 1
    support: constraints.Constraint

    def __init__(self, data_shape: Shape) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)

    @property
    def decoder_shape(self) -> Shape:
        """Shape that a decoder must give for one datum: ``(numbers, *data_shape)``."""
        return (self.numbers, *self.data_shape)

    @abstractmethod
    def forward(self, h: Tensor) -> dist.TorchDistribution:
        """The distribution p(x | z) for the decoder's output ``h``: ``(..., *decoder_shape)``."""

    def _split(self, h: Tensor) -> tuple[Tensor, ...]:
        return h.unbind(-len(self.data_shape) - 1)


class Bernoulli(Likelihood):
    """p(x | z) = prod_d l_d^x_d (1 - l_d)^(1 - x_d): zeros and ones, and nothing between.

    The decoder gives the logit of l. Grey values are no outcomes of it: binarize them, or take
    `ContinuousBernoulli`.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.boolean

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        fn = dist.Bernoulli(logits=logits)
        return cast("dist.TorchDistribution", fn.to_event(len(self.data_shape)))


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_d C(l_d) l_d^x_d (1 - l_d)^(1 - x_d) on [0, 1]: grey values as they are.

    The constant C makes it a density (Loaiza-Ganem and Cunningham, 2019), so log p(x) may be above
    zero. The decoder gives the logit of l, which is not the mean.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.unit_interval

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        fn: dist.TorchDistribution = dist.ContinuousBernoulli(logits=logits).to_event(
            len(self.data_shape)
        )
        return fn


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
