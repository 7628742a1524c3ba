"""Normalizing flows: a normal transformed by invertible networks to a density of another shape.

The networks are zuko's. Its distributions are not used: importing them switches off torch's checks
for the whole process, and its adaptor to Pyro returns a density that is no function of the draw.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal, cast, override

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from ppvae.errors import InputError

FlowKind = Literal["spline", "affine"]
"""Transformation of each element of z, given those before it: a rational-quadratic spline of 8 bins
on [-5, 5], the identity outside (Durkan et al., 2019), or an affine map (Papamakarios et al.,
2017)."""


def zuko() -> Any:
    """The package zuko, imported without its side effect on torch's checks."""
    is_checked = pyro.settings.get("validate_distributions_torch")
    try:
        return import_module("zuko")
    finally:
        Distribution.set_default_validate_args(is_checked)


class NormalizingFlow(dist.TorchDistribution):
    """z = f^-1(u), u ~ base: log p(z) = log base(f(z)) + log |det df(z)/dz|, at any z.

    The tensor that `rsample` returned is scored without computing f, which for an inverse
    autoregressive flow is slow: its u is known, and gradients pass through the draw. A view or copy
    of it, and any other value, is scored by f, as a function of z.

    Args:
        transform: f, from z to u: zuko's, with vectors for events.
        base: the distribution of u, with event shape ``(features,)``.

    Shapes: those of the base.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
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
        # A tensor made in inference mode has no count of in-place changes.
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
        """The log-density of the last draw itself, unless it was changed in place."""
        draw, version, log_prob = self._drawn or (None, None, None)
        if value is not draw or value._version != version:
            return None
        # A draw without a gradient was scored without one, and is useless where one is needed.
        return log_prob if value.grad_fn is not None or not torch.is_grad_enabled() else None


class Autoregressive(nn.Module):
    """A flow in which masked networks transform each element of z given those before it.

    Calling it gives the distribution of z. In one direction all elements are computed at once, in
    the other one after another, by ``features`` passes through the networks. By default scoring is
    fast (Papamakarios et al., 2017), with ``inverse`` drawing (Kingma et al., 2016): a prior scores
    draws of the guide, a guide scores its own.

    The map starts as the identity: an untrained flow is its base. The order of the elements is
    reversed from each layer to the next.

    Args:
        features: length of z.
        context: number of values that the flow is conditional on; 0: none.
        kind: the transformation of each element; see `FlowKind`.
        transforms: number of layers.
        hidden: width of each hidden layer of each network.
        inverse: whether drawing is fast instead of scoring.

    Shapes: called with ``context`` ``(*batch, context)``, and a ``base`` of event shape
    ``(features,)``, which is N(0, I) by default; gives batch shape ``(*batch)``, broadcast with
    that of the base, and event shape ``(features,)``.

    Raises:
        InputError: for a number below 1, or an unknown kind.

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
        """The distribution of z, given the context."""
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
    """Set the parameters of each spline or affine map to zero at any input."""
    networks = dict(layer.named_children())
    # A single element without a context has no input: its values are parameters.
    last = networks["hyper"][-1] if "hyper" in networks else layer
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def _check(features: int, context: int, kind: str, transforms: int, hidden: Sequence[int]) -> None:
    if kind not in ("spline", "affine"):
        raise InputError(f"kind is '{kind}'; a flow is 'spline' or 'affine'")
    if min(features, transforms) < 1 or context < 0:
        raise InputError(
            f"features is {features}, transforms {transforms} and context {context}; a flow needs "
            "at least 1, 1 and 0"
        )
    if any(width < 1 for width in hidden):
        raise InputError(f"hidden is {list(hidden)}; each layer needs a width of at least 1")
