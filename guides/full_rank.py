"""A normal with all correlations: the encoder gives its Cholesky factor."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.guides.amortized import Amortized
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape


class FullRank(Amortized):
    """q(z | x) = N(z; loc(x), L(x) L(x)') with L lower triangular (Kingma and Welling, 2019).

    L = diag(scale) (I + N) with scales as in `MeanField`, which is the case N = 0. N is strictly
    lower triangular: the effect of earlier dimensions on later ones, in units of the scale of the
    latter; see `loadings`. The encoder gives D (D + 3) / 2 numbers for D dimensions: for large D,
    take `LowRank`.

    Args:
        latent_dim: D, the number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc, log scale and N by rows: out shape
            ``(D (D + 3) / 2,)``.
        classes, covariates: number of either in y, if the encoder reads y as well.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.
    """

    places: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
    ) -> None:
        triangle = latent_dim * (latent_dim - 1) // 2
        super().__init__(data_shape, (2 * latent_dim + triangle,), encoder, classes, covariates)
        self._sizes = (latent_dim, latent_dim, triangle)
        # The position of each entry of I + N in a row of N's entries followed by a zero and a one.
        places = triangle + torch.eye(latent_dim, dtype=torch.long)
        places[*torch.tril_indices(latent_dim, latent_dim, -1)] = torch.arange(triangle)
        self.register_buffer("places", places, persistent=False)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        loc, log_scale, below = self.encode(x, y).split(self._sizes, -1)
        zero = torch.zeros_like(loc[..., :1])
        entries = torch.cat([loadings(below, loc.shape[-1]), zero, zero + 1], -1)
        scale_tril = posterior_scale(log_scale).unsqueeze(-1) * entries[..., self.places]
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)


def loadings(numbers: Tensor, latent_dim: int) -> Tensor:
    """Loadings of a correlated normal from an encoder's outputs, squashed smoothly into a ball.

    They are divided by sqrt(D), so that they start small for any D, and squashed to a length below
    8. The inverse of a factor I + N is then below exp((1 + 8^2) / 2) = 1e14 for any D (Carleman's
    inequality), and densities are finite in single precision for any output of the encoder; with
    each number bounded separately the inverse might grow exponentially with D.

    Args:
        numbers: all of one datum, ``(..., loadings)``.
        latent_dim: D.
    """
    scaled = numbers / latent_dim**0.5
    bent: Tensor = scaled / (1 + scaled.square().sum(-1, keepdim=True) / 64).sqrt()
    return bent
