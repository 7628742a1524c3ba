"""A mixture of the guide's posteriors at learned pseudo-inputs."""

from typing import Any, Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions.batch_mixture import BatchMixture
from ppvae.distributions.flows import NormalizingFlow
from ppvae.errors import InputError
from ppvae.models.priors.prior import Prior
from ppvae.networks import Shape
from ppvae.networks.evaluation_mode import evaluation_mode


class VampPrior(Prior):
    """p(z) = sum_k w_k q(z | u_k), a variational mixture of posteriors (Tomczak and Welling, 2018).

    The best prior for a guide is its aggregate posterior, (1/N) sum_n q(z | x_n); here a few
    learned pseudo-inputs u_k represent the data. Gradients of log p(z) reach them and, as in the
    paper, the guide's encoder. The guide is referenced, not owned: its weights are neither
    parameters of the prior nor part of its state.

    Pseudo-inputs start as data, each used once while they last and then again with a little noise,
    or, without data, uniform in [0, 1]. Unlike the paper's they are not restricted to that
    interval, as data need not be.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        guide: has ``posterior(u)``, with batch shape ``(components,)`` and event shape
            ``(latent_dim,)``, for u ``(components, *data_shape)``.
        components: number of pseudo-inputs.
        weights: ``"equal"``, as in the paper, or ``"learned"``.
        examples: data to start from, ``(n, *data_shape)``.

    Raises:
        InputError: if there are no components, or the guide has no suitable posterior: none at all,
            a point mass, a flow, whose density at a given z is slow, one that is conditional on y,
            or one of another shape.

    Example::

        guide = MeanField(40, (1, 28, 28))
        model = VAE(VampPrior(40, (1, 28, 28), guide, examples=x[:500]), Bernoulli((1, 28, 28)))
    """

    equal: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        guide: Any,
        components: int = 500,
        weights: Literal["equal", "learned"] = "equal",
        examples: Tensor | None = None,
    ) -> None:
        super().__init__(latent_dim)
        if components < 1:
            raise InputError(f"`prior.components` is {components}; a mixture needs at least 1")
        if weights not in ("equal", "learned"):
            raise InputError(f"`prior.weights` is '{weights}'; give 'equal' or 'learned'")
        self._guide = (guide,)  # in a tuple, so that it is not registered
        self.pseudo_inputs = nn.Parameter(_start(data_shape, components, examples))
        self.logits = nn.Parameter(torch.zeros(components)) if weights == "learned" else None
        self.register_buffer("equal", torch.zeros(components), persistent=False)
        _check(guide, self.pseudo_inputs[:2].detach(), latent_dim)

    def forward(self) -> dist.TorchDistribution:
        (guide,) = self._guide
        logits = self.equal if self.logits is None else self.logits
        return BatchMixture(guide.posterior(self.pseudo_inputs), logits)


def _start(data_shape: Shape, components: int, examples: Tensor | None) -> Tensor:
    """Initial pseudo-inputs, all different, as equal ones would stay equal."""
    if examples is None:
        return torch.rand(components, *data_shape)
    data = examples.to(torch.get_default_dtype())
    rows = torch.cat([torch.randperm(len(data)) for _ in range(-(-components // len(data)))])
    start = data[rows[:components]]
    spread = float(data.std(correction=0)) or 1.0
    _, kind = start.flatten(1).unique(dim=0, return_inverse=True)
    again = (kind.unsqueeze(1) == kind).tril(-1).any(1)
    start[again] += 0.1 * spread * torch.randn_like(start[again])
    return start


def _check(guide: Any, u: Tensor, latent_dim: int) -> None:
    name = type(guide).__name__
    way_out = "take another guide, such as MeanField, or another prior, such as MixtureOfNormals"
    if getattr(guide, "posterior", None) is None:
        raise InputError(f"VampPrior needs the guide's posterior, and {name} has none; {way_out}")
    if getattr(guide, "y_size", 0):
        raise InputError(f"VampPrior needs q(z | u), and {name} needs y as well; {way_out}")
    fn = _posterior(guide, u)
    base: Any = fn
    while isinstance(base, (torch.distributions.Independent, dist.MaskedDistribution)):
        base = base.base_dist
    if isinstance(base, dist.Delta):
        raise InputError(f"VampPrior needs densities, and {name} has point masses; {way_out}")
    if isinstance(base, NormalizingFlow):
        raise InputError(
            f"VampPrior scores each draw under every component, which for {name} takes "
            f"{latent_dim} passes through its networks for each of them; {way_out}"
        )
    shapes, expected = (fn.batch_shape, fn.event_shape), ((len(u),), (latent_dim,))
    if shapes != expected:
        raise InputError(
            f"VampPrior needs densities of batch shape {expected[0]} and event shape {expected[1]} "
            f"from the guide for {len(u)} data, and {name} gives {tuple(shapes[0])} and "
            f"{tuple(shapes[1])}; {way_out}"
        )


def _posterior(guide: Any, u: Tensor) -> dist.TorchDistribution:
    """q(z | u) in evaluation mode, so that no running mean changes and nothing is drawn."""
    with evaluation_mode(guide) as parts, torch.no_grad():
        like = next((p for part in parts for p in part.parameters() if p.is_floating_point()), u)
        fn: dist.TorchDistribution = guide.posterior(u.to(like))
    return fn
