"""No approximation: the posterior, where the model knows its own."""

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
        """p(z | x): batch shape ``(batch,)``. A mask is given where entries of x are missing."""


class ExactPosterior(PyroModule):
    """q(z | x) = p(z | x), of the model itself; there is nothing to amortize, and nothing to learn.

    Every importance weight p(x, z) / q(z | x) is p(x), whatever z: under ``Trace_ELBO`` the bound
    is log p(x), without variance, and so is that of any number of draws, and so is its gradient
    that of log p(x). (``TraceMeanField_ELBO`` takes the KL in closed form and the likelihood at the
    draws, whose noise then no longer cancels.) So the model is fitted by maximum likelihood, and
    every other guide of it is measured against this one.

    Args:
        model: the model, which says what its posterior is; it is referred to, not owned.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``; ``mask``, where
    entries of x are missing, is like x: then it is the posterior given those that are not.

    Raises:
        InputError: if the model does not know its posterior.

    Example::

        model = LinearGaussian(2, (5,))
        guide = ExactPosterior(model)
    """

    def __init__(self, model: object) -> None:
        super().__init__()
        if not isinstance(model, Solved):
            name = getattr(model, "__name__", type(model).__name__)
            raise InputError(
                f"`guide='ExactPosterior'` asks the model for its posterior, and the model {name} "
                "has no 'posterior(x, mask)' that says what it is; take "
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
