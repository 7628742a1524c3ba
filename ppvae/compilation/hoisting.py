"""What a graph computes in each call, and what it computes once.

Where a graph is called many times while some of its inputs stay the same, as for draw after draw of
one batch, what follows from these alone, the encoder's networks first of all, is computed once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node

from ppvae.compilation.graphs import Function


class Hoisted:
    """A graph whose first inputs are the same in many calls, in two parts.

    The first part is run where one of these inputs is another tensor than in the last call, or has
    been changed in place; the second part, in each call. Random numbers are drawn in the second, in
    the graph's own order.

    Args:
        graph: the graph; it changes none of its inputs.
        fixed: how many of its inputs, the first ones, stay the same.
        compiled: makes native code of the second part, say.
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
        """Call the second part, and before it the first where that is due."""
        given = tensors[: self._fixed]
        if not self._seen or any(
            old is not new or version is None or version != _version(new)
            for (old, version), new in zip(self._seen, given, strict=True)
        ):
            self._results = self._once(*given)
            self._seen = [(tensor, _version(tensor)) for tensor in given]
        return self._each_time(*tensors, *self._results)


def _version(tensor: Tensor) -> int | None:
    """How often it has been changed in place; ``None``: unknown, as of an inference tensor."""
    return None if tensor.is_inference() else tensor._version


def _hoistable(graph: GraphModule, inputs: Iterable[Node]) -> list[Node]:
    """What follows from some inputs alone, and is worth keeping.

    Views cost nothing; and what has more numbers than any of the inputs, as x has that is spread
    over the draws, would fill memory, and is as quickly computed as read.
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
    """Some nodes, and all that they follow from, back to what is known."""
    needed, todo, known = set[Node](), list(ends), set(known)
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            todo += [] if node in known else node.all_input_nodes
    return needed


def _part(graph: GraphModule, inputs: Sequence[Node], ends: Sequence[Node]) -> GraphModule:
    """The part of a graph that leads from some nodes to others, or to its own output."""
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
