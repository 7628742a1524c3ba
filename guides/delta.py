"""A point in place of a distribution: with the KL weighed by zero, the plain autoencoder."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.networks import MLP, Network, Shape, build


class Delta(PyroModule):
    """q(z | x) = delta(z - loc(x)): x has one code, and no doubt about it.

    At beta = 0 what is climbed is log p(x | z = loc(x)), squared error under a `Gaussian`
    likelihood: the autoencoder. At beta = 1 it is log p(x | z) + log p(z), a maximum a posteriori
    code. Neither is a bound on log p(x): the density of a point mass is infinite, which Pyro scores
    as 0, so reports give the reconstruction alone.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc: out shape ``(latent_dim,)``.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, encoder: Network | nn.Module = MLP
    ) -> None:
        super().__init__()
        self.encoder = build(encoder, tuple(data_shape), (latent_dim,), "encoder")

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x)):
            z: Tensor = pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))
        return z
