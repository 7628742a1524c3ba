"""Parts that are wrong on purpose, and a fixed decoder."""

from typing import Any, override

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.models.priors import Prior
from ppvae.networks import MLP, Shape

LOADINGS = torch.tensor(
    [
        [1.0, 0.9, 0.9, 0.9], [0.9, 1.0, 0.9, 0.9], [0.9, 0.9, 1.0, 0.9],
        [0.9, 0.9, 0.9, 1.0], [1.0, 0.9, 0.9, 0.9], [0.9, 0.9, 1.0, 0.9],
    ]
)  # fmt: skip
"""W of `FixedLinear`; its columns are similar, so that the latents are correlated given x."""


class FrozenMLP(MLP):
    """An `MLP` that keeps its initial weights."""

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(in_shape, out_shape)
        self.requires_grad_(False)


class FixedLinear(nn.Module):
    """Decoder z to W z with the fixed W of `LOADINGS`."""

    loadings: Tensor

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.out_shape = tuple(out_shape)
        self.register_buffer("loadings", LOADINGS)

    @override
    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.loadings.T).reshape(*z.shape[:-1], *self.out_shape)


class NarrowNormal(Prior):
    """p(z) = N(0, 0.2^2 I)."""

    loc: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim))

    @override
    def forward(self) -> Any:
        return dist.Normal(self.loc, 0.2).to_event(1)
