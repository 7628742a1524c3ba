"""The fixed prior of independent standard normals."""

import pyro.distributions as dist
import torch

from ppvae.models.priors.prior import Prior


class StandardNormal(Prior):
    """p(z) = N(0, I), with nothing to learn (Kingma and Welling, 2014).

    Args:
        latent_dim: number of latent dimensions.
    """

    loc: torch.Tensor
    scale: torch.Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        # Not persistent: constants follow the module to its device but are not in checkpoints.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.Normal(self.loc, self.scale).to_event(1)
        return fn
