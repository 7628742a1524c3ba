"""Logistic densities in bins: probabilities of grey levels, also as mixtures."""

from collections.abc import Sequence
from typing import ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn import functional as F

from ppvae.distributions.grid import Grid


class DiscretizedLogistic(dist.TorchDistribution):
    """P(x = k / (levels - 1)) = F(k + 1/2) - F(k - 1/2), F a logistic cdf, with open outer bins.

    With a < b the ends of a bin in units of the scale, about loc, and s the logistic sigmoid::

        log [s(b) - s(a)] = log s(b) + log s(-a) + log(1 - exp(a - b)),

    which has no cancellation, however far in a tail the bin lies; b - a is the same for all bins.
    The lowest bin has only the first term, the highest only the second (Kingma et al., 2016;
    Salimans et al., 2017).

    Args:
        loc: centre of the logistic, in units of x.
        scale: its scale, above zero, in units of x.
        levels: number of grey levels, at least 2.

    Shapes: elementwise; ``loc`` and ``scale`` broadcast.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        levels: int = 256,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "DiscretizedLogistic | None" = None
    ) -> "DiscretizedLogistic":
        shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(shape), self.scale.expand(shape)
        return DiscretizedLogistic(loc, scale, self.levels, validate_args=self._validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Grid:
        """The grid of levels in [0, 1]."""
        return Grid(self.levels)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        top = self.levels - 1
        level = (value * top).round()
        is_lowest, is_highest = level == 0, level == top
        below = F.logsigmoid(self._standard(level + 0.5)).masked_fill(is_highest, 0)
        above = F.logsigmoid(-self._standard(level - 0.5)).masked_fill(is_lowest, 0)
        width = (-(-1 / (top * self.scale)).expm1()).log()
        return below + above + torch.where(is_lowest | is_highest, 0, width)

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            top = self.levels - 1
            level = (self.loc + self.scale * u.logit()) * top
            return level.round().clamp(0, top) / top

    @property
    def mean(self) -> Tensor:
        """The expected intensity, E[k] / top = sum_k P(x >= k / top) / top over levels k > 0.

        Summed level by level, so that it takes no more memory than a draw.
        """
        top = self.levels - 1
        total = torch.zeros_like(self.loc)
        for level in range(1, self.levels):
            total = total + (-self._standard(level - 0.5)).sigmoid()
        return total / top

    @property
    def variance(self) -> Tensor:
        """The variance of the intensity, (E[(k - c)^2] - E[k - c]^2) / top^2.

        Taken about the level c of loc, so that a small variance is not the difference of large
        numbers, and level by level: E[(k - c)^2] = sum_k (2 (k - c) - 1) P(x >= k / top) over
        levels k > c, and likewise below c.
        """
        top = self.levels - 1
        centre = (self.loc * top).round().clamp(0, top)
        first, second = torch.zeros_like(self.loc), torch.zeros_like(self.loc)
        for level in range(1, self.levels):
            step = level - 0.5 - centre
            beyond = (-step.sign() * self._standard(level - 0.5)).sigmoid()
            first = first + step.sign() * beyond
            second = second + 2 * step.abs() * beyond
        return (second - first.square()).clamp(min=0) / top**2

    def _standard(self, level: Tensor | float) -> Tensor:
        """A level, or a point between two levels, in units of the scale about loc."""
        return (level / (self.levels - 1) - self.loc) / self.scale


# Pyro makes the class below at run time.
class MixtureOfDiscretizedLogistics(dist.MixtureSameFamily):  # type: ignore[misc]  # Pyro states no types
    """sum_i w_i DiscretizedLogistic(loc_i, scale_i) (Salimans et al., 2017), element by element.

    Args:
        mixture_distribution: the weights, a ``Categorical`` over components.
        component_distribution: a `DiscretizedLogistic` with the components in the last dimension
            of its batch.
    """

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Grid:
        """The grid of its components, which is the same for all."""
        return Grid(self.component_distribution.levels)
