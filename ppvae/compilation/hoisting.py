"""Hoisting: parts of a graph that are computed once for several calls.

Where a graph is called many times with some inputs unchanged, such as for many draws of one batch,
everything that depends only on these, mainly the encoder's networks, is computed once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node

from ppvae.compilation.graphs import Function


class Hoisted:
    """A graph in two parts, whose first inputs are the same in many calls.

    The first part runs when one of these inputs is another tensor than in the last call, or was
    changed in place; the second part runs in each call. Random numbers are drawn in the second, in
    the order of the graph.

    Args:
        graph: the graph; it changes none of its inputs.
        fixed: number of its leading inputs that stay the same.
        compiled: compiles the second part, for instance to native code.
    """

    def __init__(
        self, graph: GraphModule, fixed: int, compiled: Callable[[GraphModule], Function]
    ) -> None:
        self._fixed = fixed
        inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
        output, kept = graph.graph.output_node(), _hoistable(graph, inputs[:fixed])
        hoisted = [node for node in kept if node in _needed([output], kept)]
        self._once = _part(graph, inputs[:fixed], hoisted)
        self._each_time = compiled(_part(graph, [*inputs, *hoisted], [output]))
        self._seen: list[tuple[Tensor, int | None]] = []
        self._results: Sequence[Tensor] = ()

    def __call__(self, *tensors: Tensor) -> Any:
        """Call the second part, after the first if an input has changed."""
        given = tensors[: self._fixed]
        if not self._seen or any(
            old is not new or version is None or version != _version(new)
            for (old, version), new in zip(self._seen, given, strict=True)
        ):
            self._results = self._once(*given)
            self._seen = [(tensor, _version(tensor)) for tensor in given]
        return self._each_time(*tensors, *self._results)


def _version(tensor: Tensor) -> int | None:
    """Count of its changes in place; ``None``: unknown, as for an inference tensor."""
    return None if tensor.is_inference() else tensor._version


def _hoistable(graph: GraphModule, inputs: Iterable[Node]) -> list[Node]:
    """Nodes that depend only on ``inputs`` and are worth keeping.

    Views cost nothing. Values larger than any of the inputs, such as x repeated for all draws,
    would fill memory, and are as fast to compute as to read.
    """
    fixed = set(inputs)
    most = max((node.meta["val"].numel() for node in fixed), default=0)
    kept = []
    for node in graph.graph.nodes:
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or not fixed.issuperset(sources):
            continue
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            continue
        fixed.add(node)
        value = node.meta.get("val")
        is_view = isinstance(node.target, OpOverload) and node.target.is_view
        if isinstance(value, Tensor) and value.numel() <= most and not is_view:
            kept.append(node)
    return kept


def _needed(ends: Iterable[Node], known: Iterable[Node]) -> set[Node]:
    """Some nodes, and all that they depend on, back to the known nodes."""
    needed, todo, known = set[Node](), list(ends), set(known)
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            todo += [] if node in known else node.all_input_nodes
    return needed


def _part(graph: GraphModule, inputs: Sequence[Node], ends: Sequence[Node]) -> GraphModule:
    """The part of a graph from some nodes to others, or to its output."""
    needed, part, copies = _needed(ends, inputs), Graph(), dict[Node, Node]()
    for node in inputs:
        copies[node] = part.placeholder(node.name)
        copies[node].meta = node.meta
    for node in graph.graph.nodes:
        if node in needed and node not in copies:
            copies[node] = part.node_copy(node, copies.__getitem__)
    if graph.graph.output_node() not in needed:
        part.output([copies[node] for node in ends])
    return GraphModule(graph, part)
