"""Suitability of a bound for a pair of programs: its requirements, one check per function."""

from collections.abc import Iterable
from typing import Any

import pyro.distributions as dist
from pyro.infer import ELBO

from ppvae.bounds.traces import check_reparameterized
from ppvae.bounds.traits import OF_PYRO, traits_of
from ppvae.distributions.optimal_normal import OptimalNormal
from ppvae.errors import InputError
from ppvae.programs.plates import Plate, is_in
from ppvae.programs.sites import Nodes, Parents, base, listed, point_masses

_OWN = {
    "RenyiELBO": "RenyiELBO of this package, which is right for mini-batches too",
    "ReweightedWakeSleep": "ImportanceWeightedELBO",
    "TraceTailAdaptive_ELBO": "RenyiELBO",
    "TraceTMC_ELBO": "ImportanceWeightedELBO, or TraceEnum_ELBO",
    "JitTrace_ELBO": "Trace_ELBO with `compile='on'`",
    "JitTraceEnum_ELBO": "TraceEnum_ELBO",
    "JitTraceGraph_ELBO": "TraceGraph_ELBO",
    "JitTraceMeanField_ELBO": "TraceMeanField_ELBO with `compile='on'`",
}
"""Replacements of Pyro's objectives that cannot be maximized here."""


def check_bound(elbo: Any) -> None:
    """Refuse anything but a bound with a differentiable value."""
    name = getattr(elbo, "__name__", repr(elbo))
    is_pyros = str(getattr(elbo, "__module__", "")).startswith("pyro.")
    if isinstance(elbo, type) and issubclass(elbo, ELBO) and not (is_pyros and name in _OWN):
        if not is_pyros and hasattr(elbo, "differentiable_loss"):
            return
        if elbo in OF_PYRO or traits_of(elbo).has_surrogate:
            return
    way_out = "TraceMeanField_ELBO, or derive yours from pyro.infer.ELBO"
    if is_pyros:
        way_out = _OWN.get(name, "TraceMeanField_ELBO, or Trace_ELBO")
    raise InputError(
        f"`elbo={name!r}` is not a bound on log p(x) with a differentiable_loss, which a fit "
        f"maximizes; take {way_out}"
    )


def check_suitability(
    elbo: type[ELBO], guide: Nodes, model: Nodes, parents: Parents, plate: Plate | None
) -> None:
    """Refuse programs for which ``elbo`` would be wrong, or is not defined.

    Raises:
        InputError: naming the site, and a bound or part that works.
    """
    traits, name = traits_of(elbo), elbo.__name__
    _check_enumeration(name, traits.enumerates, guide, model)
    if traits.needs_rsample:
        check_reparameterized(guide, name)
    if traits.needs_site_densities:
        _check_density(name, [n for n in guide if isinstance(base(guide[n]["fn"]), dist.Delta)])
    if traits.weighs_draws:
        _check_density(name, point_masses(guide, model, parents))
    if traits.enumerates or traits.weighs_draws:
        _check_variance(name, model)
    if traits.has_closed_form_kl:
        _check_order(name, guide, model, parents)
    if traits.weighs_draws:
        _check_locality(name, plate, guide)


def _check_enumeration(elbo: str, enumerates: bool, guide: Nodes, model: Nodes) -> None:
    if enumerates:
        if not any(node["infer"].get("enumerate") for node in (*guide.values(), *model.values())):
            raise InputError(
                f"{elbo} sums over sites marked infer={{'enumerate': 'parallel'}}, and none is "
                f"(sites: {listed(model)}); take Trace_ELBO"
            )
        return
    for name, node in [*guide.items(), *model.items()]:
        if not node["is_observed"] and node["infer"].get("enumerate"):
            raise InputError(
                f"site '{name}' asks to be enumerated, and {elbo} does not enumerate; "
                "take TraceEnum_ELBO"
            )


def _check_density(elbo: str, point_masses: Iterable[str]) -> None:
    for name in point_masses:
        raise InputError(
            f"site '{name}' of the guide is a point mass, whose density is infinite, and "
            f"{elbo} needs the guide's density; take another guide, or Trace_ELBO"
        )


def _check_variance(elbo: str, model: Nodes) -> None:
    for name, node in model.items():
        if isinstance(base(node["fn"]), OptimalNormal):
            raise InputError(
                f"site '{name}': variance 'optimal' is optimal only where all draws count alike, "
                f"and {elbo} weighs them; take `likelihood.variance='learned'`"
            )


def _check_locality(elbo: str, plate: Plate | None, guide: Nodes) -> None:
    inside = "inside 'with pyro.plate(\"data\", len(x))', or take Trace_ELBO"
    if plate is None:
        raise InputError(
            f"{elbo} weighs the draws of each datum, and no plate of the model holds the "
            f"data; write the model {inside}"
        )
    for name, node in guide.items():
        if not is_in(node, plate.name):
            raise InputError(
                f"site '{name}' of the guide is shared by all data, and {elbo} weighs the "
                f"draws of each datum; draw it {inside}"
            )


def _check_order(elbo: str, guide: Nodes, model: Nodes, parents: Parents) -> None:
    """Refuse a site whose parents in the model are among its descendants in the guide.

    Otherwise KL(q(a | ...) || p(a | b)) would be taken at a b that was drawn given this very a, and
    the sum of such terms is not the KL of the joint distributions.
    """
    ancestors: dict[str, frozenset[str]] = {}
    for name in guide:  # in the order of sampling, so parents come first
        direct = parents["guide"][name] - {name}
        ancestors[name] = direct.union(*(ancestors.get(p, frozenset()) for p in direct))
    for name in (n for n in guide if n in model):
        crossing = [
            parent
            for parent in parents["model"][name] - {name}
            if name in ancestors.get(parent, ())
        ]
        if crossing:
            raise InputError(
                f"in the model '{name}' depends on '{crossing[0]}', and in the guide "
                f"'{crossing[0]}' depends on '{name}': {elbo} would be wrong by nats for "
                f"such a pair; take Trace_ELBO, or let the guide draw '{crossing[0]}' first"
            )
