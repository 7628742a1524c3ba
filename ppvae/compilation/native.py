"""A graph as native code, by Inductor, and its replay on a CUDA device."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import GraphModule

from ppvae.compilation.graphs import Function, NotStatic, value_of
from ppvae.compilation.inductor import compile_natively
from ppvae.compilation.logistic import take_quicker_logistic_terms
from ppvae.compilation.notes import in_a_line
from ppvae.compilation.products import add_biases_apart, take_quicker_products
from ppvae.compilation.scalars import hold_scalars
from ppvae.compilation.stopwatch import compiling

PASSES = (
    take_quicker_products,
    add_biases_apart,
    take_quicker_logistic_terms,
    hold_scalars,
)
"""Changes of a graph on a CPU before Inductor gets it, in this order."""


def compiled(graph: GraphModule) -> Function:
    """The graph as native code, compiled at the first call, which takes seconds.

    It draws the same numbers as the graph. A call checks nothing: the caller guarantees that the
    tensors are like those of the trace. It records no gradients.

    Raises:
        NotStatic: at the first call, before anything is computed, if there is no compiler for this
            machine, or it fails.
    """
    if is_all_on(graph, "cpu"):
        for improve in PASSES:
            improve(graph)
        graph.recompile()
    made: list[Function] = []

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            if not made:
                made.append(_native(graph, tensors))
            return made[0](*tensors)

    return call


def has_compiler() -> bool:
    """Whether torch finds a C++ compiler, which native code on a CPU needs."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # late: it takes seconds to import

    try:
        get_cpp_compiler()
    except RuntimeError:
        return False
    return True


def is_all_on(graph: GraphModule, device: str) -> bool:
    """Whether all values of a graph are on one kind of device."""
    values = [value for value in map(value_of, graph.graph.nodes) if value is not None]
    return all(value.device.type == device for value in values)


@compiling
def _native(graph: GraphModule, tensors: Sequence[Tensor]) -> Function:
    try:
        with _quiet():
            return compile_natively(graph, tensors, is_on_cpu=is_all_on(graph, "cpu"))
    except Exception as error:  # a compiler may be missing or fail in many ways
        raise NotStatic(f"torch cannot compile it: {in_a_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Context without the compiler's warning that this machine has no CUDA toolkit."""
    log = logging.getLogger("torch.utils.cpp_extension")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


class Replayed:
    """A function on a CUDA device, recorded once and then replayed without Python.

    Its first calls are ordinary, on a separate stream, as recording requires.

    Args:
        run: changes its first tensors in place, and returns nothing.
        kept: number of leading tensors that stay in place; the others are copied to where the
            recording reads them.
    """

    WARM_UP = 3

    def __init__(self, run: Function, kept: int) -> None:
        self._run, self._count = run, kept
        self._calls = 0
        self._pointers: list[int] = []
        self._places: Sequence[Tensor] = ()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *tensors: Tensor) -> None:
        """Call the function, or replay its recording."""
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
        """Record the kernels of a call; nothing is computed."""
        self._pointers = [tensor.data_ptr() for tensor in kept]
        self._places = [value.clone() for value in given]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._run(*kept, *self._places)
