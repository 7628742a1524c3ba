"""Graph passes for numbers without dimensions, such as Adam's bias corrections, on a CPU."""

from importlib import import_module
from typing import cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ppvae.compilation.graphs import value_of

_aten = torch.ops.aten


def hold_scalars(module: GraphModule) -> None:
    """Compute numbers such as a bias correction once, before the loops over tensors that use them.

    Inductor writes a scalar's arithmetic into every loop that reads it, and the C++ compiler cannot
    hoist it, as a store in the loop might change its inputs: one power per 16 weights costs more
    than the rest of Adam. An operation that makes Inductor write to memory separates them.
    """
    import_module("torch._inductor.test_operators")  # late, like all of the compiler
    realize = torch.ops._inductor_test.realize.default
    graph = module.graph
    computed = [node for node in _scalars(module) if node.op == "call_function"]
    held = [node for node in computed if any(_is_loop(user) for user in node.users)]
    if not held:
        return
    start = next(node for node in graph.nodes if node.op not in ("placeholder", "get_attr"))
    for node in computed:
        if node is not start:
            start.prepend(node)
        else:
            start = start.next
    for dtype in dict.fromkeys(cast("Tensor", value_of(node)).dtype for node in held):
        some = [node for node in held if cast("Tensor", value_of(node)).dtype == dtype]
        with graph.inserting_before(start):
            together = graph.call_function(_aten.stack.default, (some,))
            held_here = graph.call_function(realize, (together,))
            for i, node in enumerate(some):
                one = graph.call_function(_aten.select.int, (held_here, 0, i))
                one.meta["val"] = node.meta["val"]
                node.replace_all_uses_with(one, delete_user_cb=_is_loop)


def _scalars(module: GraphModule) -> dict[Node, None]:
    """Numbers that are inputs or depend only on such, in order."""
    scalars: dict[Node, None] = {}
    for node in module.graph.nodes:
        value = value_of(node)
        if value is None or value.ndim > 0 or not value.is_floating_point():
            continue
        inputs = node.all_input_nodes
        is_pure = node.op == "call_function" and inputs and _keeps_its_value(node)
        if node.op == "placeholder" or (is_pure and all(i in scalars for i in inputs)):
            scalars[node] = None
    return scalars


def _keeps_its_value(node: Node) -> bool:
    """Whether a node can be moved: it draws no random numbers, and changes nothing."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded not in tags and node.target is not _aten.copy_.default


def _is_loop(node: Node) -> bool:
    """Whether a node computes more than one number."""
    value = value_of(node)
    return value is not None and value.ndim > 0
