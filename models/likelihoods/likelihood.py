"""p(x | z): everything about observation, and nothing about networks.

A likelihood says how many numbers per element of x the decoder must give (``decoder_shape``),
which values of x it accepts (``support``), and, called on the decoder's output, the distribution of
one datum, whose ``mean`` is what pictures show.

Shapes: the decoder gives ``(..., numbers, *data_shape)``; the distribution has event shape
``data_shape``. Log-densities are in nats.
"""

from abc import ABC, abstractmethod

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

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
