"""The generative model of a variational autoencoder: draw a latent, decode it, draw a datum."""

import pyro
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.models.likelihoods import Likelihood
from ppvae.models.observation import observe
from ppvae.models.priors import Prior
from ppvae.networks import MLP, Network, build


class VAE(PyroModule):
    """p(x, z) = p(z) p(x | z), one latent vector per datum (Kingma and Welling, 2014).

    A Pyro program over the plate ``"data"`` with the sites ``"z"`` and ``"x"``. To generate,
    uncondition it on a batch of the right shape:
    ``pyro.poutine.uncondition(model)(torch.empty(64, *model.likelihood.data_shape))``.

    Args:
        prior: p(z).
        likelihood: p(x | z).
        decoder: makes the network from z to the parameters of the likelihood.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``; ``mask``, where
    entries of x are missing, is like x; ``size_factor``, the optional factor of the mean of counts,
    is ``(batch,)``.

    Example::

        model = VAE(StandardNormal(10), Bernoulli((1, 28, 28)))
    """

    def __init__(
        self, prior: Prior, likelihood: Likelihood, decoder: Network | nn.Module = MLP
    ) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.decoder = build(decoder, (prior.latent_dim,), likelihood.decoder_shape, "decoder")

    def forward(
        self, x: Tensor, mask: Tensor | None = None, size_factor: Tensor | None = None
    ) -> Tensor:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            return observe(x, self.likelihood(self.decoder(z)), mask, size_factor)
