"""Graph passes for matrix products on a CPU: the library that computes them, and their biases."""

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
    """X W' + b by oneDNN, which is part of torch on all common processors."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


_LARGE = 500_000
"""Multiplications in a product above which the choice of library matters."""


def take_quicker_products(module: GraphModule) -> None:
    """Let oneDNN compute the products of a batch with weights, forwards and backwards.

    Torch uses MKL for single-precision products. On processors other than Intel's, MKL is slower by
    a tenth at these shapes, and faster by as much for the gradient of the weights, where the left
    factor is transposed. On Intel's it is faster for all three, by a quarter. Inductor would use
    oneDNN only for weights that never change.
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
            if bias:  # separate, so that it is fused into the next operation
                product = graph.call_function(_aten.add.Tensor, (product, bias[0]))
                product.meta["val"] = out
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def add_biases_apart(module: GraphModule) -> None:
    """Leave the bias of a bfloat16 product to the next loop, in single precision.

    With torch, oneDNN adds it, which first copies the bias into each row and reads the copy again.
    The sum in single precision also keeps Inductor from merging both again.
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
    """A node's value as another type, at the insertion point of its graph."""
    wide = node.graph.call_function(_aten._to_copy.default, (node,), {"dtype": dtype})
    wide.meta["val"] = node.meta["val"].to(dtype)
    return wide
