"""Tracing of a function of tensors to a plain graph of torch's operations.

Pyro's handlers decide at each call what to compute, and always decide the same. A trace runs them
once, on tensors without values, and records every operation. The result is arithmetic, which a
compiler can fuse (`ppvae.compilation.native`).

Two things differ during a trace. Checks by Pyro and torch that read values, for NaN and for
supports, are off (audit and support are checked before the first step, and the training loop looks
for NaN at the end of each epoch). And ``item()``, by which Pyro makes a Python number of a loss,
returns the tensor itself, detached. So the bound is Pyro's own, operation by operation, for each of
its estimators.
"""

import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast, override
from unittest.mock import patch

import numpy as np
import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from ppvae.compilation.stopwatch import compiling
from ppvae.networks.tracing import tracing

Function = Callable[..., Any]


class NotStatic(Exception):  # noqa: N818  # not a mistake: such a function runs without a graph
    """A function has no graph that is valid for all its inputs; the message says why."""


@compiling
def trace(function: Function, tensors: Sequence[Tensor]) -> GraphModule:
    """Record ``function(*tensors)`` as a graph, without computing anything.

    The graph does the same as the function for tensors of the same shapes, types and devices,
    including changes in place. It draws from torch's global generators in the function's order:
    with the same seed, function and graph have the same noise.

    Args:
        function: takes tensors, and returns tensors in tuples, lists or dictionaries.
        tensors: examples of its arguments; their values are not read.

    Raises:
        NotStatic: if the computation depends on tensor values, or changes from call to call, as
            with random numbers from outside of torch.
    """
    # Detached, as the function itself decides which tensors are leaves of autograd's graph.
    tensors = [tensor.detach() for tensor in tensors]
    try:
        return _traced(function, tensors)
    except NotStatic:
        raise
    except Exception as error:
        # A function with a fault of its own fails again, with a better explanation, when it runs
        # without a graph.
        raise NotStatic(reason_of(error)) from error


def value_of(node: Node) -> Tensor | None:
    """The output of a node as a tensor without values, if it is a tensor."""
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


def give_unwidened(module: GraphModule) -> None:
    """Return values in their narrow type where a graph only widens them to return them.

    Such are gradients under autocast, whose wide copies would be written to memory and never read.
    """
    (output,) = module.graph.find_nodes(op="output")

    def source(node: Node) -> Node:
        if node.target is not torch.ops.aten._to_copy.default:
            return node
        (given,) = node.all_input_nodes
        narrow, wide = (cast("Tensor", value_of(n)).dtype for n in (given, node))
        return given if narrow.is_floating_point and narrow.itemsize < wide.itemsize else node

    output.args = map_arg(output.args, source)
    module.recompile()


def _traced(function: Function, tensors: Sequence[Tensor]) -> GraphModule:
    with _numbers_untouched():
        drawn = drawn_elsewhere()
        first: GraphModule = _fake(function)(*tensors)
        second: GraphModule = _fake(function)(*tensors)
        if drawn != drawn_elsewhere():
            raise NotStatic(_FROZEN)
        if first.code != second.code:
            raise NotStatic("what it computes changes from call to call")
        if any(isinstance(c, Tensor) and c.requires_grad for c in _constants(first)):
            raise NotStatic(
                "it uses a parameter that was not found to be its own; name it by pyro.module"
            )
        if not all(map(_same, _constants(first), _constants(second))):
            raise NotStatic(_FROZEN)
        # Changes in place come last and together, so that operations before them may be reordered.
        with torch.no_grad():
            pure: GraphModule = _fake(functionalize(first, remove="mutations"))(*tensors)
    for node in pure.graph.nodes:
        if node.target is torch.ops.aten.copy_.default and node.args[0].op == "get_attr":
            raise NotStatic("it changes a tensor that is neither a parameter nor a buffer of it")
    return pure


_FROZEN = "it draws numbers from elsewhere than torch, which a graph would freeze"


def drawn_elsewhere() -> tuple[Any, ...]:
    """The state of the other common generators: Python's and NumPy's."""
    state: Any = np.random.get_state()  # noqa: NPY002  # the global one
    if not isinstance(state, tuple):  # of another than the default generator
        return random.getstate(), repr(state)
    name, keys, *rest = state
    return random.getstate(), name, keys.tobytes(), tuple(rest)


def _fake(function: Function) -> Function:
    """``make_fx`` on tensors without values: nothing is computed, drawn or changed."""
    made: Function = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)
    return made


_HERE = __file__.replace("\\", "/").split("/")[:-1]


def reason_of(error: Exception) -> str:
    """The obstacle and its place, in words that need no knowledge of torch's tracing."""
    frames = traceback.extract_tb(error.__traceback__)
    paths = [frame.filename.replace("\\", "/").split("/") for frame in frames]
    outside = [
        (path[-1], frame.lineno)
        for path, frame in zip(paths, frames, strict=True)
        if not {"torch", "pyro", "contextlib.py"} & set(path)
        and path[:-1] != _HERE
        and not path[-1].startswith("<")
    ]
    where = " ({}, line {})".format(*outside[-1]) if outside else ""
    if type(error).__name__ in _LOOKED:
        return f"what it computes depends on numbers in the tensors{where}"
    words = " ".join(str(error).split())
    return f"torch cannot trace it{where}: {type(error).__name__}: {words[:160]}"


_LOOKED = frozenset(
    {
        "DataDependentOutputException",
        "DynamicOutputShapeException",
        "GuardOnDataDependentSymNode",
        "PendingUnbackedSymbolNotFound",
    }
)
"""torch's exceptions for reading the value of a tensor without values."""


class _ItemIsTensor(TorchFunctionMode):
    """``tensor.item()`` returns the tensor, detached: arithmetic works, branching does not."""

    @override
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.item:
            return args[0].detach().clone()  # a copy, as the tensor may change in place
        return func(*args, **(kwargs or {}))


@contextmanager
def _numbers_untouched() -> Iterator[None]:
    """Context without checks that read tensor values: for NaN, arguments and supports."""
    with (
        tracing(),
        _ItemIsTensor(),
        pyro.validation_enabled(False),  # for distributions made in this context
        # For distributions made before, which would still validate.
        patch.object(Distribution, "_validate_sample", lambda *_: None),
        patch("pyro.util.torch_isnan", lambda _: False),
        patch("pyro.util.torch_isinf", lambda _: False),
    ):
        yield


def _constants(graph: GraphModule) -> list[Any]:
    """Tensors in a trace that are not its inputs, in the order of use."""
    names = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    return [getattr(graph, name) for name in names]


def _same(a: Any, b: Any) -> bool:
    if a is b or not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a is b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())  # two NaNs are equal
