"""The exact posterior, where the model has one in closed form."""

from typing import Protocol, runtime_checkable

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor

from ppvae.errors import InputError


@runtime_checkable
class Solved(Protocol):
    """A model whose one latent, ``"z"``, has a posterior in closed form."""

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.TorchDistribution:
        """p(z | x): batch shape ``(batch,)``. A mask is passed where entries of x are missing."""


class ExactPosterior(PyroModule):
    """q(z | x) = p(z | x) of the model itself, without anything to learn.

    Every importance weight p(x, z) / q(z | x) is p(x), whatever z: under ``Trace_ELBO`` the bound
    and its gradient are those of log p(x), without variance, for any number of draws.
    (``TraceMeanField_ELBO`` takes the KL in closed form and the likelihood at the draws, whose
    noise then no longer cancels.) So the model is fitted by maximum likelihood, and its other
    guides can be measured against this one.

    Args:
        model: the model, which has the posterior; it is referenced, not owned.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``; ``mask``, where
    entries of x are missing, is like x: then it is the posterior given the observed entries.

    Raises:
        InputError: if the model has no posterior in closed form.

    Example::

        model = LinearGaussian(2, (5,))
        guide = ExactPosterior(model)
    """

    def __init__(self, model: object) -> None:
        super().__init__()
        if not isinstance(model, Solved):
            name = getattr(model, "__name__", type(model).__name__)
            raise InputError(
                f"`guide='ExactPosterior'` needs the model's posterior, and the model {name} "
                "has no method 'posterior(x, mask)'; take "
                "`model='LinearGaussian'` or `guide='MeanField'`"
            )
        # In a tuple, so that the weights have one owner, and one name in a checkpoint.
        self._model = (model,)

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.TorchDistribution:
        """q(z | x) itself: batch shape ``(batch,)``, event shape ``(latent_dim,)``."""
        (model,) = self._model
        return model.posterior(x) if mask is None else model.posterior(x, mask)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        fn = self.posterior(x, mask)
        with pyro.plate("data", len(x)):
            z: Tensor = pyro.sample("z", fn)
        return z
