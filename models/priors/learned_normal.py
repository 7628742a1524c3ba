"""A normal with learned loc and scales, which adapt to the codes."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.autograd.functional import jvp

from ppvae.models.priors.prior import Prior
from ppvae.networks import positive


class LearnedNormal(Prior):
    """p(z) = N(z; loc, diag scale^2), with loc and scale learned.

    Each dimension has its own scale, fitted by the bound: automatic relevance determination by
    empirical Bayes (MacKay, 1995; in a VAE: Saha, Joshi and Whitaker, 2025). At the optimum loc and
    scale are mean and standard deviation of the aggregate posterior. It starts as N(0, I); scales
    stay within (e^-10, e^10).

    A decoder can undo any scale, so that a scale alone does not show whether its dimension is in
    use: `relevance` weighs it by the decoder's sensitivity.

    Args:
        latent_dim: number of latent dimensions.

    Example::

        model = VAE(LearnedNormal(20), Bernoulli((1, 28, 28)))
        ...
        model.prior.relevance(lambda z: model.likelihood(model.decoder(z)).mean)
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.Normal(self.loc, positive(self.log_scale)).to_event(1)
        return fn

    def relevance(self, decode: Callable[[Tensor], Tensor], draws: int = 100) -> Tensor:
        """Share of each dimension in the variation of x: ``E[scale_d^2 |df(z) / dz_d|^2]``.

        The product does not change when a scale moves from the prior into the decoder (Saha, Joshi
        and Whitaker, 2025). An unused dimension has a share near 0.

        Args:
            decode: f, from z ``(draws, latent_dim)`` to the mean of x, ``(draws, ...)``.
            draws: number of draws z ~ p(z).

        Shapes: ``(latent_dim,)``, with sum 1.
        """
        with torch.no_grad():
            z, scale = self().sample((draws,)), positive(self.log_scale)
            steps = [jvp(decode, z, along.expand_as(z))[1] for along in scale.diag()]
            squares = torch.stack([step.square().sum() for step in steps])
            return squares / squares.sum().clamp_min(torch.finfo(squares.dtype).tiny)
