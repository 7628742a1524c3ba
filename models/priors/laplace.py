"""A prior with a peak and exponential tails, for sparse codes."""

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.models.priors.prior import Prior
from ppvae.networks import is_positive, positive


class Laplace(Prior):
    """``p(z) = prod_d exp(-|z_d| / b_d) / (2 b_d)``: sparse codes (Barello et al., 2018).

    Unlike N(0, I) it is not the same in all directions, so that the axes of z have a meaning. Its
    KL from normals has a closed form. If learned, each dimension has its own scale, which starts at
    1 and stays within (e^-10, e^10).

    Args:
        latent_dim: number of latent dimensions.
        scale: b, a number above zero, or "learned"; the standard deviation is sqrt(2) b.

    Raises:
        InputError: if the scale is not above zero and finite.
    """

    loc: Tensor
    fixed: Tensor

    def __init__(self, latent_dim: int, scale: float | Literal["learned"] = 1.0) -> None:
        super().__init__(latent_dim)
        self.log_scale: nn.Parameter | None = None
        if isinstance(scale, str):
            if scale != "learned":
                raise InputError(f"`prior.scale` is '{scale}'; give a number above 0, or 'learned'")
            self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        elif not is_positive(scale):
            raise InputError(f"`prior.scale` is {scale}; give a number above 0, or 'learned'")
        else:
            self.register_buffer("fixed", torch.full((latent_dim,), float(scale)), persistent=False)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    @property
    def scale(self) -> Tensor:
        """The scale b of each dimension: ``(latent_dim,)``."""
        return self.fixed if self.log_scale is None else positive(self.log_scale)

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.Laplace(self.loc, self.scale).to_event(1)
        return fn
