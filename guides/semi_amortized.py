"""An encoder's answer as a first guess, refined datum by datum on the datum's own bound."""

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
    """q(z | x) = N(z; loc, diag scale^2), climbed to from a first guess (Kim et al., 2018).

    The encoder guesses loc and scale. Each step then moves them by the gradient of the bound of x
    itself under the model, in units of the scale, in which the gradient is the natural one::

        loc <- loc + lr scale tanh(g),    g = d ELBO / d (loc / scale)
        scale <- scale exp(lr tanh(h)),   h = d ELBO / d log scale / 2

    so that no step goes further than lr scales. In training, gradients pass through the steps:
    encoder and model are taught what makes the refined answer good. Whatever it is, draws from it
    give a bound on log p(x). It is refined at beta = 1, and under the model as in evaluation.

    The expectation over z in the steps is taken at the fixed points loc +- scale * s, with vectors
    of signs s. So the answer is a function of x. Were the points drawn, it would be random, and the
    density of z no longer that of the normal; and the signs have mean 0 and variance 1 in each
    dimension, as no few draws have.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        model: p(x, z), whose one latent is at the site ``"z"``; referred to, not owned.
        encoder: makes the network from x to loc and log scale: out shape ``(2, latent_dim)``.
        classes, covariates: how many y has, where the encoder reads y beside x.
        steps: number of steps; each costs a gradient of the model at ``2 * pairs`` points.
        lr: length of a step.
        pairs: number of sign vectors, each taken with its opposite.

    Shapes: ``x`` is ``(batch, *data_shape)``, as is ``mask``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: for a number that is not above zero; called, if the model has other latents.

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
        self._model = (model,)  # in a tuple, it is no part of this module
        signs = 2.0 * torch.randint(2, (pairs, latent_dim)) - 1
        # Part of the checkpoint: other signs refine to another answer.
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
        """Loc and scale after a step up the sum of the data's bounds, each of which has its own."""
        shift = torch.zeros_like(loc).requires_grad_()
        growth = torch.zeros_like(loc).requires_grad_()
        points = shift + growth.exp() * self.signs.unsqueeze(1)
        z = (loc + scale * points).flatten(0, 1)
        # The entropy of the normal is log scale, up to a constant.
        bound = self._log_joint(z, copies) / len(self.signs) + growth.sum()
        g, h = torch.autograd.grad(bound, (shift, growth), create_graph=learns)
        # A datum without probability has no direction: it stays, and its bound says what it is.
        g, h = g.tanh().nan_to_num(), (h / 2).tanh().nan_to_num()
        return loc + self.lr * scale * g, scale * (self.lr * h).exp()

    def _log_joint(self, z: Tensor, copies: dict[str, Tensor]) -> Tensor:
        """Log p(x, z), summed over rows; no handler around the guide is told of it."""
        x, extras = copies["x"], {name: value for name, value in copies.items() if name != "x"}
        # Whether x can be drawn from the model at all is for the bound to check, not on the way.
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
    """Refuse a model of which ``"z"`` is not the one latent."""
    sites = {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample" and not site_is_subsample(node)
    }
    free = [name for name, node in sites.items() if not node["is_observed"]]
    if "z" not in sites or free:
        raise InputError(
            f"SemiAmortized refines the latent 'z' alone, and the model has "
            f"{', '.join(free) or 'no such site'}; take MeanField, or another model"
        )
