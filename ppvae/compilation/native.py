"""A graph as native code, by Inductor; and its replay on a CUDA device."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ppvae.compilation.graphs import Function, NotStatic
from ppvae.compilation.logistic import take_quicker_logistic_terms

_aten = torch.ops.aten


def compiled(graph: GraphModule) -> Function:
    """The graph as native code; compiled when it is called first, which takes seconds.

    It draws the very numbers that the graph would. Nothing is checked at a call: whoever calls it
    vouches that the tensors are like those of the trace. It gives no gradients.

    Raises:
        NotStatic: at the first call, before anything is computed, if there is no compiler for this
            machine, or it fails.
    """
    if is_all_on(graph, "cpu"):
        _take_quicker_products(graph)
        take_quicker_logistic_terms(graph)
        _hold_scalars(graph)
        graph.recompile()
    made: list[Function] = []

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            if not made:
                made.append(_native(graph, tensors))
            return made[0](*tensors)

    return call


def is_all_on(graph: GraphModule, device: str) -> bool:
    """Whether all that a graph computes is on one kind of device."""
    values = [value for value in map(_value, graph.graph.nodes) if value is not None]
    return all(value.device.type == device for value in values)


def _value(node: Node) -> Tensor | None:
    """What a node computes, without its numbers, where that is a tensor."""
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


def _native(graph: GraphModule, tensors: Sequence[Tensor]) -> Function:
    from torch._inductor import compile as inductor_compile  # late: it takes seconds to import

    try:
        with _quiet():
            # Inductor itself, and not torch.compile: what is left to trace, or to guard, costs a
            # small step a third of its time.
            options = {"fallback_random": True, "size_asserts": False}
            run: Function = inductor_compile(graph, list(tensors), options=options)
    except Exception as error:  # a compiler that is missing or fails, in one of many ways
        words = " ".join(str(error).split())
        raise NotStatic(f"torch cannot compile it: {words[:160]}") from error
    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the compiler's remark that this machine has no CUDA toolkit."""
    log = logging.getLogger("torch.utils.cpp_extension")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


_library = torch.library.Library("ppvae", "DEF")
_library.define("hold(Tensor numbers) -> Tensor")
_library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_library.impl("hold", torch.clone, "CompositeExplicitAutograd")
_library.impl("linear", torch.nn.functional.linear, "Meta")


@torch.library.impl(_library, "linear", "CPU")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X W' + b by oneDNN, which comes with torch on every processor it matters for."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


_LARGE = 500_000
"""Multiplications in a product for which it matters who takes it."""


def _take_quicker_products(module: GraphModule) -> None:
    """Have oneDNN take the products of a batch with weights, forwards and backwards.

    Torch gives single-precision products to MKL, which is the slower of the two by a tenth at these
    shapes, and the faster by as much at the third kind, the gradient of the weights, where the left
    factor is transposed. Inductor would take oneDNN for weights that never change.
    """
    if not torch.backends.mkldnn.is_available():
        return
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (_aten.mm.default, _aten.addmm.default) or node.kwargs:
            continue
        *bias, x, right = node.args
        left, out = _value(x), _value(node)
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


def _hold_scalars(module: GraphModule) -> None:
    """Compute numbers such as a bias correction once, before the loops over tensors that use them.

    Inductor writes a scalar's arithmetic into every loop that reads it, and the C++ compiler may
    not lift it out, for a store in the loop might change what it reads: one power per 16 weights
    costs more than the rest of Adam. An operation that Inductor does not know stands between.
    """
    graph = module.graph
    scalars: dict[Node, None] = {}
    for node in graph.nodes:
        value = _value(node)
        if value is None or value.ndim > 0 or not value.is_floating_point():
            continue
        inputs = node.all_input_nodes
        is_pure = node.op == "call_function" and inputs and _keeps_its_value(node)
        if node.op == "placeholder" or (is_pure and all(i in scalars for i in inputs)):
            scalars[node] = None
    computed = [node for node in scalars if node.op == "call_function"]
    held = [node for node in computed if any(_is_loop(user) for user in node.users)]
    if not held:
        return
    start = next(node for node in graph.nodes if node.op not in ("placeholder", "get_attr"))
    for node in computed:
        if node is not start:
            start.prepend(node)
        else:
            start = start.next
    for dtype in dict.fromkeys(cast("Tensor", _value(node)).dtype for node in held):
        some = [node for node in held if cast("Tensor", _value(node)).dtype == dtype]
        with graph.inserting_before(start):
            together = graph.call_function(_aten.stack.default, (some,))
            held_here = graph.call_function(torch.ops.ppvae.hold.default, (together,))
            for i, node in enumerate(some):
                one = graph.call_function(_aten.select.int, (held_here, 0, i))
                one.meta["val"] = node.meta["val"]
                node.replace_all_uses_with(one, delete_user_cb=_is_loop)


def _keeps_its_value(node: Node) -> bool:
    """Whether a node gives the same wherever it stands: it draws nothing, and changes nothing."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded not in tags and node.target is not _aten.copy_.default


def _is_loop(node: Node) -> bool:
    """Whether a node computes something of more than one number."""
    value = _value(node)
    return value is not None and value.ndim > 0


class Replayed:
    """A function on a CUDA device, recorded once and then replayed without Python.

    Its first calls are ordinary ones, on a stream of their own, as a recording asks for.

    Args:
        run: changes its first tensors in place, and returns nothing.
        kept: how many tensors, of the first, stay where they are; the others are copied to where
            the recording reads them.
    """

    WARM_UP = 3

    def __init__(self, run: Function, kept: int) -> None:
        self._run, self._count = run, kept
        self._calls = 0
        self._pointers: list[int] = []
        self._places: Sequence[Tensor] = ()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *tensors: Tensor) -> None:
        """Call the function, or replay what it launched."""
        kept, given = tensors[: self._count], tensors[self._count :]
        self._calls += 1
        if self._calls <= self.WARM_UP:
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                self._run(*tensors)
            torch.cuda.current_stream().wait_stream(beside)
            return
        if self._pointers != [tensor.data_ptr() for tensor in kept]:
            self._record(kept, given)
        for place, value in zip(self._places, given, strict=True):
            place.copy_(value)
        cast("torch.cuda.CUDAGraph", self._graph).replay()

    def _record(self, kept: Sequence[Tensor], given: Sequence[Tensor]) -> None:
        """Write down what a call launches; nothing is computed."""
        self._pointers = [tensor.data_ptr() for tensor in kept]
        self._places = [value.clone() for value in given]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._run(*kept, *self._places)
