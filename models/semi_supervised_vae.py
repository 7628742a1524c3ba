"""Semi-supervised generation from a class and a latent, where most classes are unknown."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.errors import GIVE_LABELS, InputError
from ppvae.models.likelihoods import Likelihood
from ppvae.models.observation import observe
from ppvae.models.priors import Prior
from ppvae.networks import MLP, Network, beside, build, features, joined_shape, silence


class SemiSupervisedVAE(PyroModule):
    """p(x, y, z) = p(y) p(z) p(x | y, z), the class y a latent like z (Kingma et al., 2014, M2).

    Classes are equally likely. The guide uses the known labels (`ppvae.guides.SemiSupervised`): it
    puts all of its mass at them, so that the bound is one on log p(x, y) where y is known, and on
    log p(x) where it is not. Under ``TraceEnum_ELBO`` the sum over classes is exact.

    To draw from one class, unobserve x and condition on y:
    ``pyro.condition(pyro.poutine.uncondition(model), {"y": torch.full((64,), 3)})(x)``.

    At first the decoder ignores y, so that labels separate the classes before the bound can pull
    q(y | x) to clusters of its own.

    Args:
        prior: p(z).
        likelihood: p(x | y, z).
        decoder: makes the network from z and y, ``(latent_dim + classes,)``, to the parameters of
            the likelihood.
        classes: number of classes.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``y`` is ``(batch,)``, the labels, which only the
    guide uses; ``z`` is ``(batch, latent_dim)``; ``mask``, where entries of x are missing, is like
    x; ``size_factor``, the optional factor of the mean of counts, is ``(batch,)``.

    Raises:
        InputError: if there are fewer than two classes.

    Example::

        model = SemiSupervisedVAE(StandardNormal(10), Bernoulli((1, 28, 28)), classes=10)
        guide = SemiSupervised(10, (1, 28, 28), classes=10)
        loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, x, y=y)
    """

    logits: Tensor

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        decoder: Network | nn.Module = MLP,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(
                f"SemiSupervisedVAE needs two classes or more, and the data have "
                f"{classes or 'none'}; {GIVE_LABELS}, or take `model='VAE'`"
            )
        self.prior = prior
        self.likelihood = likelihood
        self.classes = classes
        self.register_buffer("logits", torch.zeros(classes), persistent=False)
        in_shape = joined_shape((prior.latent_dim,), classes)
        self.decoder = build(decoder, in_shape, likelihood.decoder_shape, "decoder")
        silence(self.decoder, classes)

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,  # noqa: ARG002  # a guide's arguments are its model's
        mask: Tensor | None = None,
        size_factor: Tensor | None = None,
    ) -> Tensor:
        with pyro.plate("data", len(x)):
            label = pyro.sample("y", dist.Categorical(logits=self.logits))
            z = pyro.sample("z", self.prior())
            h = self.decoder(beside(z, 1, features(label, self.classes)))
            return observe(x, self.likelihood(h), mask, size_factor)
