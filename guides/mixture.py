"""A mixture of normals, for posteriors with several modes, or skewed or curved ones."""

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.distributions.mixture import NormalMixture
from ppvae.errors import InputError
from ppvae.guides.amortized import Amortized
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape


class Mixture(Amortized):
    """q(z | x) = sum_k w_k(x) N(z; loc_k(x), diag scale_k(x)^2) (Jaakkola and Jordan, 1998).

    Draws carry gradients, also of the weights: see
    `ppvae.distributions.mixture.NormalMixture`. A mixture has no KL in closed form.

    Args:
        latent_dim: D, the number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to each component's loc, log scale and logit of its
            weight: out shape ``(components, 2 D + 1)``.
        classes, covariates: number of either in y, if the encoder reads y as well.
        components: number of normals.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: if there are no components.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
        components: int = 3,
    ) -> None:
        if components < 1:
            raise InputError(f"`guide.components` is {components}; give at least 1")
        super().__init__(data_shape, (components, 2 * latent_dim + 1), encoder, classes, covariates)
        self._sizes = (latent_dim, latent_dim, 1)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        loc, log_scale, logits = self.encode(x, y).split(self._sizes, -1)
        return NormalMixture(logits.squeeze(-1), loc, posterior_scale(log_scale))
