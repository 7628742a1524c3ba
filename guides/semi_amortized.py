"""An encoder's output as a first guess, refined by steps on each datum's own bound."""

import inspect
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides.amortized import Amortized
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape, is_positive, per_unit
from ppvae.networks.column_features import blanked
from ppvae.networks.evaluation_mode import evaluation_mode


class SemiAmortized(Amortized):
    """q(z | x) = N(z; loc, diag scale^2), refined from a first guess (Kim et al., 2018).

    The encoder guesses loc and scale. Each step then moves them along the gradient of the bound of
    x itself under the model, in units of the scale, in which the gradient is the natural one::

        loc <- loc + lr scale tanh(g),    g = d ELBO / d (loc / scale)
        scale <- scale exp(lr tanh(h)),   h = d ELBO / d log scale / 2

    so that no step exceeds lr scales. In training, gradients pass through the steps, so that
    encoder and model learn what makes the refined posterior good. In any case, draws from it give a
    bound on log p(x). It is refined at beta = 1, with the model in evaluation mode.

    The expectation over z in the steps is taken at the fixed points loc +- scale * s, with vectors
    of signs s, so that the result is a function of x. With random points it would be random, and z
    would no longer be normal; and the signs have mean 0 and variance 1 in each dimension, unlike a
    few draws.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        model: p(x, z) with one latent, at the site ``"z"``; it is referenced, not owned.
        encoder: makes the network from x to loc and log scale: out shape ``(2, latent_dim)``.
        classes, covariates: number of either in y, if the encoder reads y as well.
        steps: number of steps; each costs a gradient of the model at ``2 * pairs`` points.
        lr: length of a step.
        pairs: number of sign vectors, each used with its opposite.

    Shapes: ``x`` is ``(batch, *data_shape)``, as is ``mask``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: for a number not above zero; when called, if the model has other latents.

    Example::

        model = VAE(StandardNormal(10), Bernoulli((1, 28, 28)))
        guide = SemiAmortized(10, (1, 28, 28), model)
    """

    signs: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        model: Callable[..., Any],
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
        steps: int = 2,
        lr: float = 0.5,
        pairs: int = 1,
    ) -> None:
        for name, value in (("steps", steps), ("lr", lr), ("pairs", pairs)):
            if not is_positive(value):
                raise InputError(
                    f"`guide.{name}` is {value}; give a number above 0, or take `guide='MeanField'`"
                )
        super().__init__(data_shape, (2, latent_dim), encoder, classes, covariates)
        self.steps, self.lr = steps, lr
        called = model.forward if isinstance(model, nn.Module) else model
        self._names = frozenset(inspect.signature(called).parameters)
        self._model = (model,)  # in a tuple, so that it is not registered
        signs = 2.0 * torch.randint(2, (pairs, latent_dim)) - 1
        # Part of the checkpoint: other signs give another result.
        self.register_buffer("signs", torch.cat([signs, -signs]))

    def posterior(
        self,
        x: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        size_factor: Tensor | None = None,
    ) -> dist.TorchDistribution:
        read = blanked(self.encoder, per_unit(x, size_factor), mask)
        loc, log_scale = self.encode(read, y).unbind(-2)
        scale = posterior_scale(log_scale)
        learns = torch.is_grad_enabled()
        batch = {"x": x, "y": y, "mask": mask, "size_factor": size_factor}
        copies = {
            name: torch.cat([value] * len(self.signs))
            for name, value in batch.items()
            if value is not None and (name == "x" or name in self._names)
        }
        with torch.enable_grad():
            for _ in range(self.steps):
                loc, scale = self._refined(loc, scale, copies, learns)
        fn: dist.TorchDistribution = dist.Normal(loc, scale).to_event(1)
        return fn

    def _refined(
        self, loc: Tensor, scale: Tensor, copies: dict[str, Tensor], learns: bool
    ) -> tuple[Tensor, Tensor]:
        """Loc and scale after a step up the sum of the data's bounds, which do not interact."""
        shift = torch.zeros_like(loc).requires_grad_()
        growth = torch.zeros_like(loc).requires_grad_()
        points = shift + growth.exp() * self.signs.unsqueeze(1)
        z = (loc + scale * points).flatten(0, 1)
        # The entropy of the normal is log scale, up to a constant.
        bound = self._log_joint(z, copies) / len(self.signs) + growth.sum()
        g, h = torch.autograd.grad(bound, (shift, growth), create_graph=learns)
        # A datum of probability 0 has no gradient: loc and scale stay, and its bound tells.
        g, h = g.tanh().nan_to_num(), (h / 2).tanh().nan_to_num()
        return loc + self.lr * scale * g, scale * (self.lr * h).exp()

    def _log_joint(self, z: Tensor, copies: dict[str, Tensor]) -> Tensor:
        """Log p(x, z), summed over rows, hidden from handlers around the guide."""
        x, extras = copies["x"], {name: value for name, value in copies.items() if name != "x"}
        # The bound itself validates x; here validation would only repeat it.
        with poutine.block(), pyro.validation_enabled(False), evaluation_mode(self._model[0]):
            model = poutine.condition(self._model[0], {"z": z})
            trace: Any = poutine.trace(model).get_trace(x, **extras)
            _check_one_latent(trace)
            total: Tensor = trace.log_prob_sum()
        return total

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        size_factor: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        fn = self.posterior(x, y, mask, size_factor)
        with pyro.plate("data", len(x)):
            z: Tensor = pyro.sample("z", fn)
        return z


def _check_one_latent(trace: Any) -> None:
    """Refuse a model whose latents are not ``"z"`` alone."""
    sites = {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample" and not site_is_subsample(node)
    }
    free = [name for name, node in sites.items() if not node["is_observed"]]
    if "z" not in sites or free:
        raise InputError(
            f"SemiAmortized refines the latent 'z' only, and the model has "
            f"{', '.join(free) or 'no such site'}; take MeanField, or another model"
        )
