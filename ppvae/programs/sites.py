"""The sites of a trace that are random variables, and their properties."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro.ops.provenance import detach_provenance, get_provenance
from pyro.poutine.util import site_is_subsample
from torch import Tensor

Node = dict[str, Any]

Nodes = dict[str, Node]

Parents = Mapping[str, Mapping[str, frozenset[str]]]
"""By program and site, the sites that its distribution depends on."""


def is_subsample(node: Any) -> bool:
    """Whether a plate draws its subsample here."""
    return bool(site_is_subsample(node))


def is_deterministic(node: Any) -> bool:
    """Whether a program records a value here, which Pyro keeps as an observed site."""
    return node["type"] == "sample" and bool(node["infer"].get("_deterministic"))


def is_random_variable(node: Any) -> bool:
    """Whether a node of a trace, or a message, is a random variable of the program."""
    return node["type"] == "sample" and not is_subsample(node) and not is_deterministic(node)


def sites(trace: Any) -> Nodes:
    """The random variables of a trace, without subsamples and deterministic sites."""
    return {name: node for name, node in trace.nodes.items() if is_random_variable(node)}


def observed(trace: Any) -> Nodes:
    """The random variables of a trace that are observed."""
    return {name: node for name, node in sites(trace).items() if node["is_observed"]}


def base(fn: Any) -> Any:
    """The innermost distribution, without events, masks and expansion."""
    while isinstance(
        fn, (torch.distributions.Independent, dist.MaskedDistribution, dist.ExpandedDistribution)
    ):
        fn = fn.base_dist
    return fn


def family_name(fn: Any) -> str:
    """The name of a distribution's family, without events and masks."""
    return type(base(fn)).__name__


def depends_on(node: Node) -> frozenset[str]:
    """The sites that a site's distribution depends on, in a trace made under `TrackProvenance`."""
    return frozenset(get_provenance(node["fn"].log_prob(detach_provenance(node["value"]))))


def is_auxiliary(node: Any) -> bool:
    """Whether a guide marks a site as noise from which latents are computed."""
    return bool(node["infer"].get("is_auxiliary"))


def auxiliary(guide: Nodes, model: Nodes) -> list[str]:
    """Sites that only the guide has: its auxiliary sites."""
    return [name for name in guide if name not in model]


def point_masses(guide: Nodes, model: Nodes, parents: Parents) -> frozenset[str]:
    """Sites of the guide that have no density.

    A `Delta` at a value computed from auxiliary draws has a density: theirs, times the Jacobian in
    its ``log_density``, as in Pyro's ``AutoGuide`` classes.
    """
    draws = set(auxiliary(guide, model))
    without_density = []
    for name, node in guide.items():
        fn = base(node["fn"])
        if not isinstance(fn, dist.Delta) or draws & parents["guide"][name]:
            continue
        if not bool(torch.as_tensor(fn.log_density).any()):
            without_density.append(name)
    return frozenset(without_density)


def is_summed(name: str, node: Node, guide: Nodes) -> bool:
    """Whether the model sums over this latent, so that the guide need not infer it."""
    return (
        not node["is_observed"]
        and name not in guide
        and bool(node["infer"].get("enumerate"))
        and bool(node["fn"].has_enumerate_support)
    )


def number(scale: Any) -> float:
    """The scale of a site's log-probability, as one number."""
    return float(scale.mean() if isinstance(scale, Tensor) else scale)


def listed(names: Iterable[str]) -> str:
    """Names in quotation marks, for a sentence."""
    return ", ".join(f"'{name}'" for name in names) or "none"


def dimension_names(sizes: Mapping[str, int]) -> list[str]:
    """``z[0]``, ``z[1]``, ... of each site, from its number of dimensions; ``z`` if it has one."""
    return [
        site if size == 1 else f"{site}[{i}]" for site, size in sizes.items() for i in range(size)
    ]
