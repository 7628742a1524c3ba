"""Base class of guides with one latent: a network of x gives the parameters of a distribution."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.networks import MLP, Network, Shape, beside, build, features, joined_shape, per_unit
from ppvae.networks.column_features import blanked


class Amortized(PyroModule):
    """q(z | x), or q(z | x, y): one latent vector per datum, at the site ``"z"``.

    A family states the output shape of its encoder (``out_shape``) and, in `posterior`, the
    distribution with these parameters.

    Args:
        data_shape: shape of one datum.
        out_shape: output shape of the encoder for one datum.
        encoder: makes the network from x to these numbers.
        classes: number of classes, if the encoder reads labels y as well.
        covariates: number of covariates, if it reads those; with neither, y is not read.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``; ``y`` is
    ``(batch,)``, labels, or ``(batch, covariates)``; ``size_factor``, the optional factor of the
    mean of counts, is ``(batch,)``, and the encoder reads x divided by it.
    """

    def __init__(
        self,
        data_shape: Shape,
        out_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
    ) -> None:
        super().__init__()
        self.y_size, self._dims = classes or covariates, len(data_shape)
        in_shape = joined_shape(data_shape, self.y_size)
        self.encoder = build(encoder, in_shape, out_shape, "encoder")

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The output of the encoder for x, and for y if the guide is conditional on it."""
        if self.y_size:
            x = beside(x, self._dims, features(y, self.y_size))
        code: Tensor = self.encoder(x)
        return code

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        """q(z | x) itself: batch shape ``(batch,)``, event shape ``(latent_dim,)``."""
        # Not abstract by abc, whose metaclass is not Pyro's.
        raise NotImplementedError(f"{type(self).__name__} has no posterior")

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        size_factor: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        fn = self.posterior(blanked(self.encoder, per_unit(x, size_factor), mask), y)
        with pyro.plate("data", len(x)):
            z: Tensor = pyro.sample("z", fn)
        return z
