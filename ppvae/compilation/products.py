"""Graph passes for matrix products on a CPU: which library takes them, and what loops add."""

from typing import cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ppvae.compilation.graphs import value_of
from ppvae.compilation.processor import is_of_intel

_aten = torch.ops.aten

_library = torch.library.Library("ppvae", "FRAGMENT")
_library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_library.impl("linear", torch.nn.functional.linear, "Meta")


@torch.library.impl(_library, "linear", "CPU")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X W' + b by oneDNN, which comes with torch on every processor it matters for."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


_LARGE = 500_000
"""Multiplications in a product for which it matters who takes it."""


def take_quicker_products(module: GraphModule) -> None:
    """Have oneDNN take the products of a batch with weights, forwards and backwards.

    Torch gives single-precision products to MKL. On processors that are not Intel's MKL is the
    slower of the two by a tenth at these shapes, and the faster by as much at the third kind, the
    gradient of the weights, where the left factor is transposed. On Intel's it is the faster at all
    three, by a quarter. Inductor would take oneDNN for weights that never change.
    """
    if not torch.backends.mkldnn.is_available() or is_of_intel():
        return
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (_aten.mm.default, _aten.addmm.default) or node.kwargs:
            continue
        *bias, x, right = node.args
        left, out = value_of(x), value_of(node)
        if left is None or out is None or left.dtype != torch.float32:
            continue
        if x.target is _aten.t.default or out.numel() * left.shape[1] < _LARGE:
            continue
        with graph.inserting_before(node):
            weight = graph.call_function(_aten.t.default, (right,))
            weight.meta["val"] = right.meta["val"].t()
            product = graph.call_function(torch.ops.ppvae.linear.default, (x, weight, None))
            product.meta["val"] = out
            if bias:  # apart, where it is fused into what comes next
                product = graph.call_function(_aten.add.Tensor, (product, bias[0]))
                product.meta["val"] = out
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def add_biases_apart(module: GraphModule) -> None:
    """Leave the bias of a bfloat16 product to the loop that comes next, in single precision.

    Torch has oneDNN add it: it copies the bias into each row first, and reads the copy again. The
    sum in single precision also keeps Inductor from joining both once more.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is not _aten.addmm.default or node.kwargs:
            continue
        bias, *factors = node.args
        out = cast("Tensor", value_of(node))
        if out.dtype != torch.bfloat16:
            continue
        with graph.inserting_before(node):
            product = graph.call_function(_aten.mm.default, tuple(factors))
            product.meta["val"] = out
            wide = [_as_type(part, torch.float32) for part in (product, bias)]
            total = graph.call_function(_aten.add.Tensor, tuple(wide))
            total.meta["val"] = wide[0].meta["val"]
            node.replace_all_uses_with(_as_type(total, torch.bfloat16))
        graph.erase_node(node)


def _as_type(node: Node, dtype: torch.dtype) -> Node:
    """A node's numbers as another type, where its graph inserts now."""
    wide = node.graph.call_function(_aten._to_copy.default, (node,), {"dtype": dtype})
    wide.meta["val"] = node.meta["val"].to(dtype)
    return wide
