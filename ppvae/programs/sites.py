"""The sites of a trace, and what is read off one."""

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

__all__ = [
    "Node", "Nodes", "Parents", "auxiliary", "base", "family_name", "full_size", "is_summed",
    "listed", "number", "point_masses", "sites",
]  # fmt: skip


Node = dict[str, Any]


Nodes = dict[str, Node]

Parents = Mapping[str, Mapping[str, frozenset[str]]]
"""By program and site, the sites that its distribution depends on."""


def sites(trace: Any) -> Nodes:
    """The sites of a trace that are random variables, plates and deterministic ones aside."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample"
        and not site_is_subsample(node)
        and not node["infer"].get("_deterministic")
    }


def full_size(frame: Any) -> int:
    """N, of which a plate holds some or all."""
    return int(frame.size if frame.full_size is None else frame.full_size)


def base(fn: Any) -> Any:
    """The distribution inside of what reshapes, masks or expands it."""
    while isinstance(
        fn, (torch.distributions.Independent, dist.MaskedDistribution, dist.ExpandedDistribution)
    ):
        fn = fn.base_dist
    return fn


def auxiliary(guide: Nodes, model: Nodes) -> list[str]:
    """Sites of the guide alone, which it marks as auxiliary."""
    return [name for name in guide if name not in model]


def point_masses(guide: Nodes, model: Nodes, parents: Parents) -> frozenset[str]:
    """Sites of the guide that have no density.

    A `Delta` that takes the value of auxiliary draws has one: theirs, times what its
    ``log_density`` says of the map between the two, as in each ``AutoGuide`` of Pyro's.
    """
    draws = set(auxiliary(guide, model))
    found = []
    for name, node in guide.items():
        fn = base(node["fn"])
        if not isinstance(fn, dist.Delta) or draws & parents["guide"][name]:
            continue
        if not bool(torch.as_tensor(fn.log_density).any()):
            found.append(name)
    return frozenset(found)


def is_summed(name: str, node: Node, guide: Nodes) -> bool:
    """Whether the model sums over one of its latents, which the guide need not infer."""
    return (
        not node["is_observed"]
        and name not in guide
        and bool(node["infer"].get("enumerate"))
        and bool(node["fn"].has_enumerate_support)
    )


def family_name(fn: Any) -> str:
    """What a distribution is called, whatever is around it."""
    return type(base(fn)).__name__


def number(scale: Any) -> float:
    """What multiplies the log-probability of a site, as one number."""
    return float(scale.mean() if isinstance(scale, Tensor) else scale)


def listed(names: Any) -> str:
    """Names in quotation marks, in a sentence."""
    return ", ".join(f"'{name}'" for name in names) or "none"
