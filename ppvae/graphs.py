"""A function of tensors as a plain graph of torch's operations, and that graph compiled.

Pyro's handlers decide anew at each call what to compute, and always decide the same. Here they
decide once, on tensors without numbers, while every operation is written down; what is left is
arithmetic, which a compiler can fuse.

Two things in the way are lifted while a function is traced, and only then. Pyro and torch look at
numbers, to warn of a NaN and to check a support: that is switched off (the audit and the support
are checked before the first step, and the loop looks for a NaN at the end of each epoch). And Pyro
makes a Python number of a loss: there ``item()`` gives the tensor itself, detached, which is what
the number stands for. So the bound is Pyro's own, operation by operation, whichever of its
estimators it is; deriving it anew from two traces would be a second implementation of each, to be
kept true to the first.
"""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any, cast, override
from unittest.mock import patch

import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

__all__ = ["Function", "NotStatic", "Replayed", "compiled", "trace"]

Function = Callable[..., Any]


class NotStatic(Exception):  # noqa: N818  (nobody's mistake: such a function is run as it is)
    """A function has no graph that holds for all its inputs; the message says why."""


def trace(function: Function, tensors: Sequence[Tensor]) -> GraphModule:
    """Write ``function(*tensors)`` down as a graph, without computing anything.

    The graph does what the function does for tensors of the same shapes, types and devices,
    changes in place included. When it runs it draws from torch's global generators, in the
    function's own order: function and graph, seeded alike, see the same noise.

    Args:
        function: takes tensors, and returns tensors in tuples, lists or dictionaries.
        tensors: examples of what it is called with; their numbers are not looked at.

    Raises:
        NotStatic: if what is computed depends on numbers in the tensors, or changes from call to
            call, as noise does that is not torch's.
    """
    # Values, not leaves: what is a leaf of autograd's graph is the function's own affair.
    tensors = [tensor.detach() for tensor in tensors]
    first, second = _traced(function, tensors), _traced(function, tensors)
    if first.code != second.code:
        raise NotStatic("what it computes changes from call to call")
    if any(isinstance(c, Tensor) and c.requires_grad for c in _constants(first)):
        raise NotStatic(
            "it uses a parameter that was not found to be its own; pyro.module names it"
        )
    if not all(map(_same, _constants(first), _constants(second))):
        raise NotStatic("it draws numbers from elsewhere than torch, which a graph would freeze")
    # Changes in place come last and at once, so that what is before them may change its place.
    with _numbers_untouched(), torch.no_grad():
        pure: GraphModule = _fake(functionalize(first, remove="mutations"))(*tensors)
    return pure


def compiled(graph: GraphModule) -> Function:
    """The graph as native code; compiled when it is called first, which takes seconds.

    It draws the very numbers that the graph would. Nothing is checked at a call: whoever calls it
    vouches that the tensors are like those of the trace. It gives no gradients.

    Raises:
        NotStatic: at the first call, if there is no compiler, or it fails.
    """
    if all(val.device.type == "cpu" for val in map(_value, graph.graph.nodes) if val is not None):
        _hold_scalars(graph)
    run = torch.compile(
        graph,
        fullgraph=True,
        dynamic=False,
        options={"fallback_random": True, "guard_filter_fn": _no_guards},
    )

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            return run(*tensors)

    def first_call(*tensors: Tensor) -> Any:
        try:
            with _quiet():
                return call(*tensors)
        except Exception as error:
            # It failed before it computed: changes in place come last in the graph.
            words = " ".join(str(error).split())
            raise NotStatic(f"torch cannot compile it: {words[:160]}") from error

    calls = chain([first_call], repeat(call))
    return lambda *tensors: next(calls)(*tensors)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the compiler says of this machine: no CUDA toolkit, an early Python 3.13."""
    log = logging.getLogger("torch.utils.cpp_extension")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Guards may run slower", RuntimeWarning)
            yield
    finally:
        log.setLevel(level)


def _no_guards(entries: Sequence[Any]) -> list[bool]:
    return [False] * len(entries)


def _traced(function: Function, tensors: Sequence[Tensor]) -> GraphModule:
    try:
        with _numbers_untouched():
            traced: GraphModule = _fake(function)(*tensors)
            return traced
    except Exception as error:
        # Anything at all: a function that fails here for a fault of its own fails again, and
        # better explained, when it is run as it is.
        raise NotStatic(_reason(error)) from error


def _fake(function: Function) -> Function:
    """``make_fx`` on tensors without numbers: nothing is computed, drawn or changed."""
    made: Function = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)
    return made


def _reason(error: Exception) -> str:
    """What stood in the way, and where, in the words of neither torch nor Python."""
    frames = traceback.extract_tb(error.__traceback__)
    paths = [frame.filename.replace("\\", "/").split("/") for frame in frames]
    theirs = {"torch", "pyro", "contextlib.py", "graphs.py", "capture.py", "step.py"}
    outside = [
        (path[-1], frame.lineno)
        for path, frame in zip(paths, frames, strict=True)
        if not theirs & set(path) and not path[-1].startswith("<")
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
"""torch's names for a number that was asked of a tensor without numbers."""


class _ItemIsTensor(TorchFunctionMode):
    """``tensor.item()`` is the tensor, detached: arithmetic with it goes on, choices do not."""

    @override
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.item:
            return args[0].detach()
        return func(*args, **(kwargs or {}))


@contextmanager
def _numbers_untouched() -> Iterator[None]:
    """Nobody looks at a number in a tensor: no checks for NaN, none of arguments and values."""
    with (
        _ItemIsTensor(),
        pyro.validation_enabled(False),
        # Distributions that were made before, and so still check what they are shown.
        patch.object(Distribution, "_validate_sample", lambda *_: None),
        patch("pyro.util.torch_isnan", lambda _: False),
        patch("pyro.util.torch_isinf", lambda _: False),
    ):
        yield


def _constants(graph: GraphModule) -> list[Any]:
    """What a trace took from outside its inputs, in the order of use."""
    names = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    return [getattr(graph, name) for name in names]


def _same(a: Any, b: Any) -> bool:
    if a is b or not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b))


def _value(node: Node) -> Tensor | None:
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


_library = torch.library.Library("ppvae", "DEF")
_library.define("hold(Tensor[] scalars) -> Tensor")
_library.impl("hold", torch.stack, "CompositeExplicitAutograd")


def _hold_scalars(module: GraphModule) -> None:
    """Compute numbers such as a bias correction once, before the loops over tensors that use them.

    Inductor writes a scalar's arithmetic into every loop that reads it, and the C++ compiler may
    not lift it out, for a store in the loop might change what it reads: one power per 16 weights
    costs more than the rest of Adam. An operation that Inductor does not know stands between.
    """
    graph, aten = module.graph, torch.ops.aten
    scalars: dict[Node, None] = {}
    for node in graph.nodes:
        value = _value(node)
        if value is None or value.ndim or not value.is_floating_point():
            continue
        inputs = node.all_input_nodes
        is_pure = node.op == "call_function" and node.target is not aten.copy_.default and inputs
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
    for dtype in {cast("Tensor", _value(node)).dtype for node in held}:
        some = [node for node in held if cast("Tensor", _value(node)).dtype == dtype]
        with graph.inserting_before(start):
            together = graph.call_function(torch.ops.ppvae.hold.default, (some,))
            for i, node in enumerate(some):
                one = graph.call_function(aten.select.int, (together, 0, i))
                one.meta["val"] = node.meta["val"]
                node.replace_all_uses_with(one, delete_user_cb=_is_loop)
    module.recompile()


def _is_loop(node: Node) -> bool:
    """Whether a node computes something of more than one number."""
    value = _value(node)
    return value is not None and value.ndim > 0


class Replayed:
    """A function on a CUDA device, recorded once and then replayed without Python.

    Its first calls are ordinary ones, on a stream of their own, as a recording asks for.

    Args:
        run: changes its first tensors in place, and returns nothing.
        kept: how many tensors, of the first, are the same objects at each call; the others are
            copied to where the recording reads them.
    """

    WARM_UP = 3

    def __init__(self, run: Function, kept: int) -> None:
        self._run, self._count = run, kept
        self._calls = 0
        self._kept: Sequence[Tensor] = ()
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
        if self._graph is None or any(a is not b for a, b in zip(kept, self._kept, strict=True)):
            self._record(kept, given)
        for place, value in zip(self._places, given, strict=True):
            place.copy_(value)
        cast("torch.cuda.CUDAGraph", self._graph).replay()

    def _record(self, kept: Sequence[Tensor], given: Sequence[Tensor]) -> None:
        """Write down what a call launches; nothing is computed."""
        self._kept, self._places = kept, [value.clone() for value in given]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._run(*kept, *self._places)
