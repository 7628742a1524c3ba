"""Priors p(z): distributions of the latent before x is observed.

A prior is a module that owns its parameters. Called, it gives the distribution of one latent
vector; the plate of the calling program makes it one per datum.
"""

from abc import ABC, abstractmethod

import pyro.distributions as dist
from torch import nn

from ppvae.errors import InputError


class Prior(nn.Module, ABC):
    """A distribution over latent vectors of length ``latent_dim``, with the parameters it owns."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise InputError(f"`latent_dim` is {latent_dim}; a latent needs at least 1 dimension")
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self) -> dist.TorchDistribution:
        """The distribution p(z): batch shape ``()``, event shape ``(latent_dim,)``."""
