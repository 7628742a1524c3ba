"""The classical encoder: a network of x gives loc and scale of a diagonal normal."""

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.guides.amortized import Amortized
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape


class MeanField(Amortized):
    """q(z | x) = N(z; loc(x), diag scale(x)^2) (Kingma and Welling, 2014).

    A draw is z = loc + scale * eps with eps ~ N(0, I), so that gradients pass through it. The
    encoder gives log scale up to 0, and grows more slowly above; see `ppvae.guides.scales`.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc and log scale: out shape ``(2, latent_dim)``.
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
        super().__init__(data_shape, (2, latent_dim), encoder, classes, covariates)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        loc, log_scale = self.encode(x, y).unbind(-2)
        fn: dist.TorchDistribution = dist.Normal(loc, posterior_scale(log_scale)).to_event(1)
        return fn
