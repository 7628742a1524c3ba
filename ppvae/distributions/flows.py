"""Normalizing flows: a normal, bent by invertible networks into a density of another shape.

The networks are zuko's. Its distributions are not used: importing them switches off torch's checks
for the whole process, and its adaptor to Pyro hands back a density that is no function of the draw.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, cast, override

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from ppvae.errors import InputError

FlowKind = Literal["spline", "affine"]
"""What each number of z is bent by, given those before it: a rational-quadratic spline of 8 bins
on [-5, 5] that is the identity outside (Durkan et al., 2019), or a line (Papamakarios et al.,
2017)."""


def zuko() -> Any:
    """The package zuko, imported without its side effect: torch's checks stay as they were."""
    is_checked = pyro.settings.get("validate_distributions_torch")
    try:
        return import_module("zuko")
    finally:
        Distribution.set_default_validate_args(is_checked)


class NormalizingFlow(dist.TorchDistribution):
    """z = f^-1(u), u ~ base: log p(z) = log base(f(z)) + log |det df(z)/dz|, at any z.

    The very draw that `rsample` gave is scored without computing f, which for an inverse
    autoregressive flow is slow: u is known there, and gradients pass by way of the draw. A view or
    a copy of it, and any other value, are scored by f: there the density is a function of z.

    Args:
        transform: f, from z to u: zuko's, with vectors for events.
        base: the distribution of u, with event shape ``(features,)``.

    Shapes: those of the base.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  (torch's own way)
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        transform: Any,
        base: dist.TorchDistribution,
        validate_args: bool | None = None,
    ) -> None:
        self.transform, self.base = transform, base
        self._drawn: tuple[Tensor, int, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "NormalizingFlow | None" = None
    ) -> "NormalizingFlow":
        base = self.base.expand(torch.Size(batch_shape))
        return NormalizingFlow(self.transform, base, validate_args=self._validate_args)

    @override
    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = self.base.rsample(torch.Size(sample_shape))
        z, log_det = self.transform.inv.call_and_ladj(u)
        # Changes in place are not counted of a tensor that is made in inference mode.
        counts = not z.is_inference()
        self._drawn = (z, z._version, self.base.log_prob(u) - log_det) if counts else None
        return cast("Tensor", z)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        known = self._known(value)
        if known is not None:
            return known
        u, log_det = self.transform.call_and_ladj(value)
        return cast("Tensor", self.base.log_prob(u) + log_det)

    def _known(self, value: Tensor) -> Tensor | None:
        """The log-density of the very draw, unless it was changed in place since."""
        draw, version, log_prob = self._drawn or (None, None, None)
        if value is not draw or value._version != version:
            return None
        # A draw without a gradient was scored without one, too: no use where one is asked for.
        return log_prob if value.grad_fn is not None or not torch.is_grad_enabled() else None


class Autoregressive(nn.Module):
    """A flow, each number of z bent by a function that masked networks read off those before it.

    Called, it gives the distribution of z. In one direction all numbers are computed at once, in
    the other one after another, by ``features`` passes through the networks. Scoring is the fast
    one here (Papamakarios et al., 2017), or, with ``inverse``, drawing (Kingma et al., 2016): a
    prior scores draws of the guide, a guide scores its own.

    The map starts as the identity: an untrained flow is its base. The order of the numbers is
    turned round from each layer to the next.

    Args:
        features: length of z.
        context: how many numbers the flow is conditional on; 0: none.
        kind: what a number is bent by; see `FlowKind`.
        transforms: number of layers.
        hidden: width of each hidden layer of each network.
        inverse: whether drawing is fast, and not scoring.

    Shapes: called with ``context`` ``(*batch, context)``, and a ``base`` of event shape
    ``(features,)``, which is N(0, I) by default; gives batch shape ``(*batch)``, broadcast with
    that of the base, and event shape ``(features,)``.

    Raises:
        InputError: for a number below 1, or a kind that is none.

    Example::

        flow = Autoregressive(features=10, context=64, inverse=True)
        z = pyro.sample("z", flow(h, dist.Normal(loc, scale).to_event(1)))
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        features: int,
        context: int = 0,
        kind: FlowKind = "spline",
        transforms: int = 3,
        hidden: Sequence[int] = (128, 128),
        inverse: bool = False,
    ) -> None:
        super().__init__()
        _check(features, context, kind, transforms, hidden)
        flows = zuko().flows
        family = flows.NSF if kind == "spline" else flows.MAF
        self.transform: nn.Module = family(
            features, context, transforms=transforms, hidden_features=hidden, activation=nn.SiLU
        ).transform
        self.context, self.inverse = context, inverse
        for layer in self.transform.transforms:
            _start_as_identity(layer)
        self.register_buffer("loc", torch.zeros(features), persistent=False)
        self.register_buffer("scale", torch.ones(features), persistent=False)

    def forward(
        self, context: Tensor | None = None, base: dist.TorchDistribution | None = None
    ) -> NormalizingFlow:
        """The distribution of z, given the numbers that it is conditional on."""
        size = None if context is None else context.shape[-1]
        if (size or 0) != self.context:
            raise InputError(
                f"the flow is made for a context of {self.context} numbers and is given "
                f"{size or 'none'}; make it with context={size or 0}, or call it with "
                f"{self.context or 'none'}"
            )
        if base is None:
            base = dist.Normal(self.loc, self.scale).to_event(1)
        transform = self.transform(context if size else None)
        lead = torch.Size() if context is None else context.shape[:-1]
        base = base.expand(torch.broadcast_shapes(lead, base.batch_shape))
        return NormalizingFlow(transform.inv if self.inverse else transform, base)


def _start_as_identity(layer: Any) -> None:
    """Have the numbers that make each spline or line be zero, whatever they are read off."""
    networks = dict(layer.named_children())
    # One number alone, without a context, has nothing to be read off: its own are parameters.
    last = networks["hyper"][-1] if "hyper" in networks else layer
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def _check(features: int, context: int, kind: str, transforms: int, hidden: Sequence[int]) -> None:
    if kind not in ("spline", "affine"):
        raise InputError(f"kind is '{kind}'; a flow is made of 'spline' or of 'affine'")
    if min(features, transforms) < 1 or context < 0:
        raise InputError(
            f"features is {features}, transforms {transforms} and context {context}; a flow needs "
            "at least 1, 1 and 0"
        )
    if any(width < 1 for width in hidden):
        raise InputError(f"hidden is {list(hidden)}; each layer needs a width of at least 1")
