"""A mixture of normals as a prior, for codes in clusters."""

from math import sqrt

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.distributions.batch_mixture import BatchMixture
from ppvae.errors import InputError
from ppvae.models.priors.prior import Prior
from ppvae.networks import positive


class MixtureOfNormals(Prior):
    """p(z) = sum_k w_k N(z; loc_k, diag scale_k^2), with weights, locs and scales all learned.

    As a prior of a VAE: Jiang et al. (2017); compared with others by Tomczak and Welling (2018).
    The locs start at different places, as equal components would stay equal: they are draws of
    N(0, I/2), and the scales are sqrt(1/2), so that mean and variance start close to N(0, I).
    Scales stay within (e^-10, e^10).

    Args:
        latent_dim: number of latent dimensions.
        components: number of normals.

    Raises:
        InputError: if there are no components.
    """

    def __init__(self, latent_dim: int, components: int = 50) -> None:
        super().__init__(latent_dim)
        if components < 1:
            raise InputError(f"`prior.components` is {components}; a mixture needs at least 1")
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim) * sqrt(0.5))
        self.log_scale = nn.Parameter(torch.full((components, latent_dim), 0.5).log() / 2)

    def forward(self) -> dist.TorchDistribution:
        components = dist.Normal(self.loc, positive(self.log_scale)).to_event(1)
        return BatchMixture(components, self.logits)
