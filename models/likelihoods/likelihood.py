"""Likelihoods p(x | z): distributions of x given a decoder's output, without networks.

A likelihood states how many numbers per element of x the decoder must give (``decoder_shape``) and
which values of x it accepts (``support``). Called on the decoder's output, it gives the
distribution of one datum, whose ``mean`` is shown in pictures.

Shapes: the decoder gives ``(..., params_per_element, *data_shape)``; the distribution has event
shape ``data_shape``. Log-densities are in nats.
"""

from abc import ABC, abstractmethod
from typing import Any, cast

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.networks import Shape


class Likelihood(nn.Module, ABC):
    """The distribution of one datum of ``data_shape``, given the output of the decoder.

    Attributes:
        params_per_element: numbers that the decoder must give per element of x.
        support: the values that one element of x may take; for the class, with default arguments.
        levels: their number, if they are grey levels, classes, or counts out of a known total. Bits
            per dimension, -log p(x) / (D ln 2), are reported where ``support`` is a ``Grid`` of
            them, as published for 8-bit images.
    """

    params_per_element: int = 1
    support: constraints.Constraint
    levels: int | None = None

    def __init__(self, data_shape: Shape) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)

    @classmethod
    def arguments_for(cls, x: Tensor) -> dict[str, Any] | None:
        """Arguments with which it accepts the values ``x``; ``None``: it never does."""
        return {} if bool(cls.support.check(x).all()) else None

    @property
    def decoder_shape(self) -> Shape:
        """Output shape of the decoder for one datum: ``(params_per_element, *data_shape)``."""
        return (self.params_per_element, *self.data_shape)

    @abstractmethod
    def forward(self, h: Tensor) -> dist.TorchDistribution:
        """The distribution p(x | z) for the decoder's output ``h``: ``(..., *decoder_shape)``."""

    def given(self, h: Tensor, y: Tensor) -> dist.TorchDistribution:
        """The distribution p(x | z, y) for a model that is conditional on y.

        The decoder has read y; by default the likelihood does not use it.

        Args:
            h: the decoder's output, ``(..., *decoder_shape)``.
            y: labels as one-hot vectors, or covariates: ``(..., y_size)``.
        """
        fn: dist.TorchDistribution = self(h)
        return fn

    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """Fit the likelihood to the distribution of each element of data, independent of z.

        The likelihood's own parameters are set, and the decoder's returned: training starts with
        these as the last bias of the decoder.

        Args:
            x: some data, ``(n, *shape)``, where ``shape`` broadcasts to ``data_shape``.
            mask: True where x was observed, like x; ``None``: everywhere.

        Returns:
            the decoder's output for which p(x | z) is that distribution,
            ``(params_per_element, *shape)``; ``None``, the default, if unknown.
        """
        return None

    def fit_scaled_marginal(
        self,
        x: Tensor,
        size_factor: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor | None:
        """Fit to data where the mean of each row is multiplied by its size factor, ``(n,)``.

        Like `fit_marginal`; the returned output is that for a size factor of 1.
        """
        return None

    def _split(self, h: Tensor) -> tuple[Tensor, ...]:
        return h.unbind(-len(self.data_shape) - 1)

    def _independent(self, elements: dist.TorchDistribution) -> dist.TorchDistribution:
        return cast("dist.TorchDistribution", elements.to_event(len(self.data_shape)))
