"""The conditional VAE: labels or covariates y are given to the decoder next to the latent."""

import pyro
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.errors import GIVE_LABELS, InputError
from ppvae.models.likelihoods import Likelihood
from ppvae.models.observation import observe
from ppvae.models.priors import Prior
from ppvae.networks import MLP, Network, beside, build, features, joined_shape


class ConditionalVAE(PyroModule):
    """p(x, z | y) = p(z) p(x | z, y): z holds what y does not determine of x (Sohn et al., 2015).

    Of the paper's models it is the one whose latent is independent of y, so that the same z with
    another y gives the same style in another class. The decoder reads z and y, a label as a one-hot
    vector. All figures are of log p(x | y).

    To draw from one class, unobserve x and give y:
    ``pyro.poutine.uncondition(model)(torch.empty(64, *shape), y=torch.full((64,), 3))``.

    Args:
        prior: p(z).
        likelihood: p(x | z, y).
        decoder: makes the network from z and y, ``(latent_dim + size of y,)``, to the parameters of
            the likelihood.
        classes: number of classes, if y is labels.
        covariates: number of covariates, if y is those.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``y`` is ``(batch,)``, whole numbers below
    ``classes``, or ``(batch, covariates)``, real numbers; ``z`` is ``(batch, latent_dim)``;
    ``mask``, where entries of x are missing, is like x; ``size_factor``, the optional factor of the
    mean of counts, is ``(batch,)``.

    Raises:
        InputError: if the data have no y.

    Example::

        model = ConditionalVAE(StandardNormal(10), Bernoulli((1, 28, 28)), classes=10)
        guide = MeanField(10, (1, 28, 28), classes=10)  # q(z | x, y)
    """

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        decoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
    ) -> None:
        super().__init__()
        self.y_size = classes or covariates
        if self.y_size < 1:
            raise InputError(
                f"ConditionalVAE is conditional on y, and the data have none; {GIVE_LABELS}, "
                "or take `model='VAE'`"
            )
        self.prior = prior
        self.likelihood = likelihood
        in_shape = joined_shape((prior.latent_dim,), self.y_size)
        self.decoder = build(decoder, in_shape, likelihood.decoder_shape, "decoder")

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        size_factor: Tensor | None = None,
    ) -> Tensor:
        known = features(y, self.y_size)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            fn = self.likelihood.given(self.decoder(beside(z, 1, known)), known)
            return observe(x, fn, mask, size_factor)
