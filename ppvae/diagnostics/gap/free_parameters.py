"""Free parameters of the guide's distributions, for each datum.

If every latent of the guide has a parametric distribution, and none depends on the draw of another,
the guide at a datum is determined by the encoder outputs for it. Here these become leaves, in
unconstrained space, for all data of a batch at once.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.inspect import TrackProvenance
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints, transform_to

from ppvae.data import Batch
from ppvae.diagnostics.gap.free_weights import Freed, free_weights
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.axes import Axes
from ppvae.programs.facts import Audit
from ppvae.programs.sites import depends_on, sites


class NotFree(InputError):  # noqa: N818  # a reason as a rule: weights are refined instead
    """The parameters of the guide cannot be freed per datum; the message says why."""


def guide_sites(pair: Pair, batch: Batch) -> dict[str, Any]:
    """Random variables of the guide on a batch by name, without plates and deterministic sites."""
    return sites(poutine.trace(pair.call_guide).get_trace(**batch))


def check_independent(pair: Pair, batch: Batch) -> None:
    """Refuse a guide in which one site depends on the draw of another.

    Raises:
        NotFree: naming the two sites.
    """
    with TrackProvenance():
        nodes = guide_sites(pair, batch)
    for name, node in nodes.items():
        others = depends_on(node) & nodes.keys() - {name}
        if others:
            raise NotFree(f"site '{name}' of the guide depends on a draw of '{min(others)}'")


def free_parameters(pair: Pair, audit: Audit, batch: Batch) -> Freed:
    """Free the parameters of every site of the guide, starting at the encoder outputs.

    Constants, which depend on no weight of the guide, stay fixed; numbers that are broadcast stay
    one number, except over data. The gradient is through draws only, with fixed densities (Roeder,
    Wu and Duvenaud, 2017: "sticking the landing").

    Raises:
        NotFree: if the distribution of a site is not a known function of its parameters.
    """
    # Copies of the weights that require gradients show what depends on them.
    with torch.enable_grad():
        nodes = guide_sites(free_weights(pair), batch)
    free = {name: _Site(name, node, audit.axes) for name, node in nodes.items()}
    leaves = [leaf for site in free.values() for leaf in site.leaves]
    if not leaves:
        raise NotFree("no weight of the guide reaches a parameter of its distributions")

    def call(x: Tensor, **extras: Tensor) -> Any:
        with _Substitute({name: site.distribution() for name, site in free.items()}):
            return pair.call_guide(x, **extras)

    return Freed(pair, call, leaves)


class _Substitute(Messenger):
    """Replaces the distributions of sites of a program."""

    def __init__(self, distributions: Mapping[str, dist.TorchDistribution]) -> None:
        super().__init__()
        self.distributions = distributions

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.distributions:
            msg["fn"] = self.distributions[msg["name"]]


class _Site:
    """A site of the guide whose distribution's parameters are leaves, in unconstrained space."""

    def __init__(self, name: str, node: Any, axes: Axes) -> None:
        base, self._events = _peeled(node["fn"])
        self._family, self._shape = type(base), base.batch_shape
        self._constants: dict[str, Tensor] = {}
        self._free: dict[str, _Parameter] = {}
        for parameter, constraint in _parameters(base, name).items():
            value = getattr(base, parameter, None)
            if not isinstance(value, Tensor):
                raise NotFree(f"site '{name}' does not expose its '{parameter}'")
            if not value.requires_grad:
                self._constants[parameter] = value
                continue
            try:
                data_dim = axes.data_dim(self._events)
                self._free[parameter] = _Parameter(base, value, constraint, data_dim)
            except NotImplementedError as error:
                raise NotFree(
                    f"parameter '{parameter}' of site '{name}' cannot be made unconstrained"
                ) from error
        self._check(name, node)

    @property
    def leaves(self) -> list[Tensor]:
        """The optimized tensors."""
        return [parameter.leaf for parameter in self._free.values()]

    def distribution(self) -> dist.TorchDistribution:
        """The current distribution: gradients go through draws, not through the density."""
        moving = {name: parameter.value() for name, parameter in self._free.items()}
        held = {name: value.detach() for name, value in moving.items()}
        return _Landing(self._made(moving), self._made(held))

    def _made(self, parameters: Mapping[str, Tensor]) -> dist.TorchDistribution:
        fn: Any = self._family(**parameters, **self._constants)
        made: dist.TorchDistribution = fn.expand(self._shape).to_event(self._events)
        return made

    def _check(self, name: str, node: Any) -> None:
        """Refuse a family that its constructor and named parameters do not reproduce."""
        try:
            again = self.distribution().log_prob(node["value"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise NotFree(
                f"{self._family.__name__}, of site '{name}', is not determined by its parameters"
            ) from error
        if not torch.allclose(again, node["fn"].log_prob(node["value"]), rtol=1e-3, atol=1e-3):
            raise NotFree(
                f"{self._family.__name__}, of site '{name}', is not a function of its named "
                "parameters"
            )


class _Parameter:
    """One parameter of a family as a function of an unconstrained leaf."""

    def __init__(self, base: Any, value: Tensor, constraint: Any, data_dim: int) -> None:
        events = constraint.event_dim
        # A number broadcast over dimensions of one datum is one number of the family; a number
        # broadcast over data is freed for each.
        narrow = [slice(None)] * value.dim()
        for dim in range(value.dim() - events):
            is_data = dim - (value.dim() - events) == data_dim
            if value.stride(dim) == 0 and not is_data:
                narrow[dim] = slice(0, 1)
        self._unit = _unit(base, value, constraint)[tuple(narrow)].detach()
        self._transform = transform_to(constraint)
        leaf = self._transform.inv(value.detach()[tuple(narrow)] / self._unit)
        self.leaf = leaf.clone().requires_grad_()

    def value(self) -> Tensor:
        """The current value of the parameter."""
        value: Tensor = self._unit * self._transform(self.leaf)
        return value


class _Landing(dist.TorchDistribution):
    """Draws with gradient from one distribution; the density of another of equal value."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, moving: dist.TorchDistribution, held: dist.TorchDistribution) -> None:
        self.moving, self.held = moving, held
        super().__init__(moving.batch_shape, moving.event_shape)

    @property
    def support(self) -> Any:
        return self.moving.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Landing":
        return _Landing(self.moving.expand(batch_shape), self.held.expand(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        value: Tensor = self.moving.rsample(torch.Size(sample_shape))
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        density: Tensor = self.held.log_prob(value)
        return density


def _peeled(fn: Any) -> tuple[Any, int]:
    """A distribution without its wrappers of dependent dimensions, and their number."""
    events = len(fn.event_shape)
    while isinstance(fn, torch.distributions.Independent):
        fn = fn.base_dist
    return fn, events - len(fn.event_shape)


def _parameters(base: Any, name: str) -> dict[str, Any]:
    """Parameters that reconstruct a distribution, with their constraints, one name each."""
    try:
        constraint_of = dict(base.arg_constraints)
    except NotImplementedError:
        constraint_of = {}
    if not constraint_of:
        raise NotFree(
            f"{type(base).__name__}, of site '{name}', is not a family with named parameters"
        )
    for chosen, others in _SAME:
        if chosen in constraint_of:
            constraint_of = {n: c for n, c in constraint_of.items() if n not in others}
    return constraint_of


_SAME = (("scale_tril", ("covariance_matrix", "precision_matrix")), ("logits", ("probs",)))
"""For parameters with several names, the one easiest to optimize, and the others."""


def _unit(base: Any, value: Tensor, constraint: Any) -> Tensor:
    """Unit of a parameter, so that steps do not depend on the unit of the latent."""
    one = torch.ones_like(value)
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if constraint not in (constraints.real, constraints.lower_cholesky):
        return one
    try:
        scale = base.stddev
    except (NotImplementedError, AttributeError):
        return one
    if value.dim() == scale.dim() + 1:
        scale = scale[..., None]
    sizes = zip(scale.shape, value.shape, strict=False)
    if scale.dim() != value.dim() or any(a not in (1, b) for a, b in sizes):
        return one
    if constraint is constraints.lower_cholesky:
        # A row has up to as many entries as dimensions, and all of them change at once.
        scale = scale / value.shape[-1] ** 0.5
    return torch.where(scale.isfinite() & (scale > 0), scale, one)
