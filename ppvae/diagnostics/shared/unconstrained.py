"""Unconstrained space: the latents of a program as real vectors, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.densities import Latents
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces


class UnconstrainedSpace:
    """The concatenated latents of the model, mapped to unconstrained reals and back.

    Latents have the shapes of `ppvae.programs.densities.Draws.latents`. Their supports are those of
    the model; if its distribution at a site states none, as a flow may, that of the guide.

    Raises:
        InputError: naming the site, if a latent is discrete, or its support is not known, has no
            bijection from the reals, or depends on other latents.
    """

    def __init__(self, pair: Pair, audit: Audit, batch: Batch) -> None:
        # Counted from the left, where particles are: a bijection may change the event shape.
        self._data_axis = audit.axes.data_axis
        self._bijections: dict[str, Transform] = {}
        self._shapes: dict[str, list[int]] = {}
        # The model's distributions first: the guide's are used where they state no support.
        some, others = (traces(pair, batch)[::-1] for _ in range(2))
        for name in audit.latents:
            node = some[0].nodes[name]
            bijection, moved = (
                _bijection(name, [trace.nodes[name]["fn"] for trace in both])
                for both in (some, others)
            )
            free = torch.zeros_like(bijection.inv(node["value"]))
            if not torch.allclose(bijection(free), moved(free)):
                raise InputError(
                    f"the support of site '{name}' depends on other latents, so a chain cannot "
                    "move them one by one; give it a fixed support and scale it afterwards"
                )
            events = free.dim() - len(node["fn"].batch_shape)
            shape = list(audit.axes.padded(free, events).shape[1:])
            del shape[self._data_axis - 1]
            self._bijections[name], self._shapes[name] = bijection, shape

    def position(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Latents by site as ``(chains, data, reals)``; not finite outside their supports."""
        columns = []
        for name, bijection in self._bijections.items():
            free = bijection.inv(latents[name]).movedim(self._data_axis, 1)
            columns.append(free.reshape(*free.shape[:2], -1))
        return torch.cat(columns, dim=-1)

    def latents(self, position: Tensor) -> tuple[Latents, Tensor]:
        """The inverse of `position`, and the log-determinant of its Jacobian: (chains, data)."""
        log_volume = torch.zeros_like(position[..., 0])
        latents = {}
        for name, part in self._parts(position).items():
            bijection = self._bijections[name]
            free = part.reshape(*part.shape[:2], *self._shapes[name]).movedim(1, self._data_axis)
            latents[name] = bijection(free)
            term = bijection.log_abs_det_jacobian(free, latents[name]).movedim(self._data_axis, 1)
            log_volume = log_volume + term.reshape(*term.shape[:2], -1).sum(-1)
        return latents, log_volume

    def astray(self, position: Tensor) -> str:
        """The first site where a chain is not finite; ``""`` if there is none."""
        parts = self._parts(position)
        return next((name for name, part in parts.items() if not part.isfinite().all()), "")

    def _parts(self, position: Tensor) -> dict[str, Tensor]:
        sizes = [torch.Size(shape).numel() for shape in self._shapes.values()]
        return dict(zip(self._shapes, position.split(sizes, dim=-1), strict=True))


def _bijection(name: str, families: list[Any]) -> Transform:
    """Bijection from the reals to the support of a latent, of the first family that has one."""
    support = _support(name, families)
    if support.is_discrete:
        raise InputError(
            f"site '{name}' is discrete, but Hamiltonian transitions need real numbers; sum "
            f"'{name}' out in the model, or take log_evidence"
        )
    try:
        bijection: Transform = biject_to(_shared(support))
    except NotImplementedError:
        raise InputError(
            f"site '{name}' has the support {support}, for which torch has no bijection from the "
            "reals; register one with torch.distributions.biject_to"
        ) from None
    return bijection


def _support(name: str, families: list[Any]) -> Any:
    for family in families:
        try:
            return family.support
        except NotImplementedError:  # a flow, for one
            continue
    raise InputError(
        f"site '{name}': neither the model's distribution nor the guide's states its support, "
        "which a chain needs; give one of them a property 'support'"
    )


def _shared(support: Any) -> Any:
    """The common support of the components of a mixture."""
    if isinstance(support, constraints.independent):
        inner = _shared(support.base_constraint)
        return constraints.independent(inner, support.reinterpreted_batch_ndims)
    if isinstance(support, constraints.MixtureSameFamilyConstraint):
        shared = support.base_constraint
        while isinstance(shared, constraints.independent):
            shared = shared.base_constraint
        # Tensor bounds may differ between components.
        if not any(isinstance(bound, Tensor | list) for bound in vars(shared).values()):
            return support.base_constraint
    return support
