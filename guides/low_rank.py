"""A normal whose correlations come from a few common factors, which the encoder gives."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides.amortized import Amortized
from ppvae.guides.full_rank import loadings
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape


class LowRank(Amortized):
    """q(z | x) = N(z; loc(x), S (I + F F') S) with S = diag scale(x) and F(x) of few columns.

    A draw is z = loc + scale * (e + F f) with e ~ N(0, I) and common factors f ~ N(0, I): one
    column as in Rezende et al. (2014), several as in Ong et al. (2018). Scales are as in
    `MeanField`, which is the case F = 0; for F see `ppvae.guides.full_rank.loadings`. Densities and
    the KL to a diagonal normal cost D rank^2 for D dimensions.

    Args:
        latent_dim: D, the number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc, log scale and the columns of F: out shape
            ``(2 + rank, latent_dim)``.
        classes, covariates: number of either in y, if the encoder reads y as well.
        rank: number of columns of F.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: if the rank is below 1.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
        rank: int = 4,
    ) -> None:
        if rank < 1:
            raise InputError(
                f"`guide.rank` is {rank}; give at least 1 factor, or take `guide='MeanField'`"
            )
        super().__init__(data_shape, (2 + rank, latent_dim), encoder, classes, covariates)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        loc, log_scale, *columns = self.encode(x, y).unbind(-2)
        scale = posterior_scale(log_scale)
        factor = loadings(torch.cat(columns, -1), loc.shape[-1])
        factor = factor.unflatten(-1, (-1, loc.shape[-1])).mT
        return dist.LowRankMultivariateNormal(loc, scale.unsqueeze(-1) * factor, scale.square())
