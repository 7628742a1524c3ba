"""The classical encoder: a diagonal normal whose loc and scale a network reads off x."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.networks import MLP, Network, Shape, build


class MeanField(PyroModule):
    """q(z | x) = N(z; loc(x), diag scale(x)^2) (Kingma and Welling, 2014).

    A draw is z = loc + scale * eps with eps ~ N(0, I), so that gradients pass through it. The
    network gives log scale, bent smoothly into (-10, 10): it is the identity where networks live
    (within 1 % up to |log scale| = 1.7), and no input, however strange, makes the scale 0 or
    infinite and the bound NaN.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc and log scale: out shape ``(2, latent_dim)``.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, encoder: Network | nn.Module = MLP
    ) -> None:
        super().__init__()
        self.encoder = build(encoder, tuple(data_shape), (2, latent_dim), "encoder")

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).unbind(-2)
            scale = (10 * (log_scale / 10).tanh()).exp()
            z: Tensor = pyro.sample("z", dist.Normal(loc, scale).to_event(1))
        return z
