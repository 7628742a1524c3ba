"""Generation by class and manner, where the class of most data is not known."""

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

    Classes are equally likely. The labels that are known are the guide's affair
    (`ppvae.guides.SemiSupervised`): it puts all of its mass at them, so that the bound is one on
    log p(x, y) where y is known, and on log p(x) where it is not. Under ``TraceEnum_ELBO`` the sum
    over classes is exact.

    To draw of one class, free x and hold y to it:
    ``pyro.condition(pyro.poutine.uncondition(model), {"y": torch.full((64,), 3)})(x)``.

    At first the decoder does not listen to y: classes are told apart by labels before the bound can
    draw q(y | x) to a division of its own.

    Args:
        prior: p(z).
        likelihood: p(x | y, z).
        decoder: makes the network from z and y, ``(latent_dim + classes,)``, to the numbers that
            the likelihood asks for.
        classes: number of classes.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``y`` is ``(batch,)``, the labels, which are for the
    guide alone to look at; ``z`` is ``(batch, latent_dim)``; ``mask``, where entries of x are
    missing, is like x; ``size_factor``, where the mean of counts is multiplied by one, is
    ``(batch,)``.

    Raises:
        InputError: if there are not two classes or more.

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
                f"SemiSupervisedVAE tells classes apart, and the data has {classes or 'none'}; "
                f"{GIVE_LABELS}, or take `model='VAE'`"
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
