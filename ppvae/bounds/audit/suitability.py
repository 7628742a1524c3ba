"""Is a bound right for these programs? What it needs of them, one refusal a function."""

from collections.abc import Iterable
from typing import Any

import pyro.distributions as dist
from pyro.infer import (
    ELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)

from ppvae.bounds import FreeBitsELBO, StickingTheLandingELBO, WeightedELBO
from ppvae.distributions.optimal_normal import OptimalNormal
from ppvae.errors import InputError
from ppvae.programs.sites import Nodes, Parents, base, family_name, listed, point_masses

__all__ = ["check_bound", "check_suitability"]

_OWN = {
    "RenyiELBO": "RenyiELBO of this package, which is right on batches too",
    "ReweightedWakeSleep": "ImportanceWeightedELBO",
    "TraceTailAdaptive_ELBO": "RenyiELBO",
    "TraceTMC_ELBO": "ImportanceWeightedELBO, or TraceEnum_ELBO",
    "JitTrace_ELBO": "Trace_ELBO with --compile on",
    "JitTraceEnum_ELBO": "TraceEnum_ELBO",
    "JitTraceGraph_ELBO": "TraceGraph_ELBO",
    "JitTraceMeanField_ELBO": "TraceMeanField_ELBO with --compile on",
}
"""What to take in place of objectives of Pyro's that are not climbed here."""

_CLIMBED = (Trace_ELBO, TraceMeanField_ELBO, TraceEnum_ELBO, TraceGraph_ELBO)


def check_bound(elbo: Any) -> None:
    """Refuse what is no bound, or one that has no value whose gradient could be climbed."""
    name = getattr(elbo, "__name__", repr(elbo))
    is_pyros = str(getattr(elbo, "__module__", "")).startswith("pyro.")
    if isinstance(elbo, type) and issubclass(elbo, ELBO) and not (is_pyros and name in _OWN):
        if not is_pyros and hasattr(elbo, "differentiable_loss"):
            return
        if any(elbo is known for known in _CLIMBED) or issubclass(elbo, TraceGraph_ELBO):
            return
    way_out = _OWN.get(name, "TraceMeanField_ELBO, or Trace_ELBO") if is_pyros else None
    raise InputError(
        f"--elbo {name} is not a bound on log p(x) with a differentiable_loss, which is what a fit "
        f"climbs; take {way_out or 'TraceMeanField_ELBO, or derive yours from pyro.infer.ELBO'}"
    )


def check_suitability(
    elbo: type[ELBO], guide: Nodes, model: Nodes, parents: Parents, frame: Any
) -> None:
    """Refuse programs for which ``elbo`` would be wrong, or is not defined.

    Args:
        elbo: the bound.
        guide: sites of the guide.
        model: sites of the model.
        parents: by program and site, the sites that its distribution depends on.
        frame: the plate of the data, or ``None``.

    Raises:
        InputError: naming the site, and a bound or part that goes.
    """
    _check_enumeration(elbo, guide, model)
    if issubclass(elbo, (TraceMeanField_ELBO, StickingTheLandingELBO, WeightedELBO)):
        _check_reparameterized(elbo, guide)
    if issubclass(elbo, FreeBitsELBO):
        _check_density(elbo, [n for n in guide if isinstance(base(guide[n]["fn"]), dist.Delta)])
    if issubclass(elbo, WeightedELBO):
        _check_density(elbo, point_masses(guide, model, parents))
    if issubclass(elbo, (TraceEnum_ELBO, WeightedELBO)):
        _check_variance(elbo, model)
    if issubclass(elbo, TraceMeanField_ELBO):
        _check_order(elbo, guide, model, parents)
    if issubclass(elbo, WeightedELBO):
        _check_locality(elbo, frame, guide)


def _check_enumeration(elbo: type[ELBO], guide: Nodes, model: Nodes) -> None:
    if issubclass(elbo, TraceEnum_ELBO):
        if not any(node["infer"].get("enumerate") for node in (*guide.values(), *model.values())):
            raise InputError(
                f"{elbo.__name__} sums over sites that ask for it by infer={{'enumerate': "
                f"'parallel'}}, and none does (sites: {listed(model)}); take Trace_ELBO"
            )
        return
    for name, node in [*guide.items(), *model.items()]:
        if not node["is_observed"] and node["infer"].get("enumerate"):
            raise InputError(
                f"site '{name}' asks to be enumerated, and {elbo.__name__} does not enumerate; "
                "take TraceEnum_ELBO"
            )


def _check_density(elbo: type[ELBO], point_masses: Iterable[str]) -> None:
    for name in point_masses:
        raise InputError(
            f"site '{name}' of the guide is a point mass, whose density is infinite, and "
            f"{elbo.__name__} is made of the guide's density; take another guide, or Trace_ELBO"
        )


def _check_variance(elbo: type[ELBO], model: Nodes) -> None:
    for name, node in model.items():
        if isinstance(base(node["fn"]), OptimalNormal):
            raise InputError(
                f"site '{name}': variance 'optimal' is the best where all draws count alike, and "
                f"{elbo.__name__} weighs them; take --likelihood.variance learned"
            )


def _check_locality(elbo: type[ELBO], frame: Any, guide: Nodes) -> None:
    inside = "inside 'with pyro.plate(\"data\", len(x))', or take Trace_ELBO"
    if frame is None:
        raise InputError(
            f"{elbo.__name__} weighs the draws of each datum, and no plate of the model holds the "
            f"data; write the model {inside}"
        )
    for name, node in guide.items():
        if not any(f.name == frame.name for f in node["cond_indep_stack"]):
            raise InputError(
                f"site '{name}' of the guide is shared by all data, and {elbo.__name__} weighs the "
                f"draws of each datum; draw it {inside}"
            )


def _check_reparameterized(elbo: type[ELBO], guide: Nodes) -> None:
    for name, node in guide.items():
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {family_name(node['fn'])}, which has no "
                f"reparameterized draw, and {elbo.__name__} needs one; take Trace_ELBO"
            )


def _check_order(
    elbo: type[ELBO],
    guide: Nodes,
    model: Nodes,
    parents: Parents,
) -> None:
    """Refuse a site whose parents in the model are among its descendants in the guide.

    There KL(q(a | ...) || p(a | b)) is taken at a b that was drawn given this very a, so that the
    sum of such terms is not the KL of the joint distributions.
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
                f"'{crossing[0]}' depends on '{name}': {elbo.__name__} would be wrong by nats for "
                f"such a pair; take Trace_ELBO, or let the guide draw '{crossing[0]}' first"
            )
