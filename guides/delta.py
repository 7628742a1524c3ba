"""A point estimate in place of a distribution; with beta = 0, the plain autoencoder."""

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.guides.amortized import Amortized
from ppvae.networks import MLP, Network, Shape


class Delta(Amortized):
    """q(z | x) = delta(z - loc(x)): one code per x, without uncertainty.

    At beta = 0 the objective is log p(x | z = loc(x)), squared error under a `Gaussian` likelihood:
    the autoencoder. At beta = 1 it is log p(x | z) + log p(z), which gives maximum a posteriori
    codes. Neither is a bound on log p(x): the density of a point mass is infinite, which Pyro
    scores as 0, so that reports give the reconstruction alone.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc: out shape ``(latent_dim,)``.
        classes, covariates: number of either in y, if the encoder reads y as well.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
    ) -> None:
        super().__init__(data_shape, (latent_dim,), encoder, classes, covariates)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        return dist.Delta(self.encode(x, y), event_dim=1)
