"""The sites of a trace, and what is read off one."""

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

__all__ = [
    "Node", "Nodes", "Parents", "base", "family_name", "full_size", "listed", "number", "sites",
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


def family_name(fn: Any) -> str:
    """What a distribution is called, whatever is around it."""
    return type(base(fn)).__name__


def number(scale: Any) -> float:
    """What multiplies the log-probability of a site, as one number."""
    return float(scale.mean() if isinstance(scale, Tensor) else scale)


def listed(names: Any) -> str:
    """Names in quotation marks, in a sentence."""
    return ", ".join(f"'{name}'" for name in names) or "none"
