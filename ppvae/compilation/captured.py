"""A module as guarded graphs: traced once per signature of its inputs, and compiled."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, override

import torch
from pyro.infer import ELBO
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from ppvae.bounds.objective import Bound
from ppvae.bounds.traits import traits_of
from ppvae.compilation.autograd_node import DifferentiableGraph, loss_and_gradients
from ppvae.compilation.beginning import Begun, Rerun
from ppvae.compilation.disagreement import disagreement, rounding
from ppvae.compilation.graphs import Function, NotStatic, trace
from ppvae.compilation.guard import CHECK, Guard, Unfaithful, is_handled, tidy
from ppvae.compilation.hoisting import Hoisted
from ppvae.compilation.native import compiled
from ppvae.compilation.tensors import Parts, Values
from ppvae.errors import InputError


class Captured(nn.Module):
    """A module whose call is traced once per signature of its inputs, and compiled.

    It computes the outputs and the gradients of the parameters of modules with one differentiable
    number (a loss, a bound) and any other outputs. Optimizers, clipping, autocast and distributed
    training see an ordinary module: its parameters are those of ``module``, and so is its state,
    under the prefix ``module.``.

    A signature consists of the shapes and types of the tensors, of autocast, of whether gradients
    are recorded, and of all that the module reaches in Python: modules, parameters, buffers, hooks
    and attributes at any depth, containers, closures, and the globals named in its code. If any of
    this has changed since the last call, the module is traced again. Arguments of type float do not
    count: they may change without a new trace, as the weight of a KL does. Checks of arguments and
    supports, and warnings of NaN, are off in a graph.

    The first call of a signature runs the module itself and returns its result. A graph would
    freeze any Python state that a call changes (a list used as a counter, an iterator, a random
    generator of its own): such a module runs uncompiled from then on. So does one whose graph
    computes something else. That is detected, without a list of possible causes, by computing both
    with the same noise: at the calls 1, 2, 3, 4, 8, 16, ... of a graph, and then every ``check``
    calls.

    Gradients are computed together with the value, by the parameters only and once: there are none
    by the inputs, and no second derivatives.

    Args:
        module: returns a tensor, or tensors in tuples or dictionaries.
        compile: false: the graph is run as traced.
        check: compare value and gradients with the module's own every so many calls, in addition
            to the first ones; 1: in each call; 0: in the first only.
        tell: called with a sentence if a module cannot be captured; default: a warning.
        fixed: number of leading arguments that are the same tensors in many calls, like parameters
            and buffers: what depends only on these is computed once, where no gradients are
            recorded. See `ppvae.compilation.hoisting`.

    Attributes:
        enabled: false: call the module itself, as for the last incomplete batch of an epoch.
        reason: why the module cannot be captured; ``""`` if it can.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        compile: bool = True,
        check: int = CHECK,
        tell: Callable[[str], None] = warnings.warn,
        fixed: int = 0,
    ) -> None:
        super().__init__()
        if check < 0:
            raise InputError(f"check is {check}; give a number of calls, or 0 for the first only")
        self.module = module
        self.enabled = True
        self._tell = tell
        self.reason = ""
        self._compile, self._fixed = compile, fixed
        self._guard: Guard[DifferentiableGraph] = Guard(module, check)
        if any(map(_enumerates_dynamically, module.modules())):
            self._give_up("it enumerates latents, and Pyro finds the terms of that sum as it goes")

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        guard = self._guard
        if not self.enabled or self.reason or is_handled():
            guard.settle()
            return self.module(*args, **kwargs)
        try:
            number, parts = guard.watched.state()
            inputs = _Inputs.of(args, kwargs, parts)
            key = (number, parts.state(), _autocast(parts.device), *inputs.signature())
        except NotStatic as why:
            self._give_up(str(why))
            return self.module(*args, **kwargs)
        graph = guard.get(key)
        if graph is not None and guard.trusts(graph):
            return graph(parts, inputs.tensors)
        begun = Begun.now(parts)
        eager, moved = guard.watched.run(lambda: self.module(*args, **kwargs))
        try:
            if guard.settles(moved):
                return eager
            if graph is None:
                guard.check_number()
                graph = guard.add(key, lambda: self._trace(parts, inputs))
            graph.calls += 1
            return self._faithful(graph, parts, inputs, (args, kwargs), eager, begun)
        except NotStatic as why:
            self._give_up(str(why))
            return eager

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._guard.clear()
        self._tell(f"the bound runs uncompiled: {reason}")

    def _faithful(
        self,
        graph: DifferentiableGraph,
        parts: Parts,
        inputs: "_Inputs",
        given: tuple[Sequence[Any], dict[str, Any]],
        eager: Any,
        begun: Begun,
    ) -> Any:
        """The graph's result after the program's was computed, if both are the same.

        Raises:
            Unfaithful: if they differ; noise and buffers are then as the program left them.
        """
        params = parts.params()

        def by_program(params: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
            args, kwargs = given
            with self._guard.watched.untouched():
                outputs = parts.call([*params, *buffers], args, kwargs)
                return graph.values_of(outputs, params, buffers)

        def by_graph(buffers: Sequence[Tensor]) -> Values:
            return graph.values(graph.outputs(*params, *buffers, *inputs.tensors), buffers)

        with Rerun(parts, begun) as rerun:
            everything = graph.outputs(*params, *rerun.buffers, *inputs.tensors)
            rerun.computed()
            known = graph.values_of(eager, params, parts.buffers())
            found = (known, graph.values(everything, rerun.buffers))
            place = disagreement(by_program, by_graph, params, begun, found, graph.error)
            if place is not None:
                raise Unfaithful(
                    "its graph computes something else than the program: "
                    f"{_words(parts, graph)[place]} differs at call {graph.calls}"
                )
        return graph(parts, inputs.tensors, everything)

    def _trace(self, parts: Parts, inputs: "_Inputs") -> DifferentiableGraph:
        with_grad = torch.is_grad_enabled()
        found: dict[str, Any] = {}

        def function(*flat: Tensor) -> list[Tensor]:
            params, buffers, tensors = parts.split(flat)
            args, kwargs = inputs.filled(tensors)
            with torch.set_grad_enabled(with_grad):
                outputs, found["spec"] = pytree.tree_flatten(
                    parts.call([*params, *buffers], args, kwargs)
                )
                found["loss"], slopes = loss_and_gradients(outputs, params)
            found["has"] = [slope is not None for slope in slopes]
            return [*outputs, *(slope for slope in slopes if slope is not None)]

        graph = trace(function, [*parts.params(), *parts.buffers(), *inputs.tensors])
        error = rounding(graph)
        make = compiled if self._compile else _as_it_is
        changes = graph.graph.find_nodes(op="call_function", target=torch.ops.aten.copy_.default)
        if self._fixed and found["loss"] is None and not changes:
            fixed = len(parts.params()) + len(parts.buffers()) + inputs.count(self._fixed)
            run: Function = Hoisted(graph, fixed, make)
        else:
            run = make(graph)
        return DifferentiableGraph(run, found["spec"], found["loss"], tuple(found["has"]), error)


def _enumerates_dynamically(module: nn.Module) -> bool:
    """Whether a module is a bound whose enumerated terms depend on tensor values."""
    elbo = getattr(module, "elbo", None)
    if not (isinstance(elbo, ELBO) and traits_of(type(elbo)).enumerates):
        return False
    return not (isinstance(module, Bound) and module.is_static_sum)


def _words(parts: Parts, graph: DifferentiableGraph) -> list[str]:
    """Names of a graph's values, in the user's terms."""
    names, others = parts.names()
    return [
        *(f"the gradient of {tidy(name)}" for name in names),
        *["its value"] * graph.spec.num_leaves,
        *map(tidy, others),
    ]


def _as_it_is(graph: GraphModule) -> Function:
    return graph


_TENSOR = object()


class _Inputs(NamedTuple):
    """The flattened arguments of a call.

    Attributes:
        tensors: the tensors, and the floats, whose values are not part of a graph.
        others: every argument, with `_TENSOR` in place of each of those.
        spec: the structure of the arguments.
    """

    tensors: list[Tensor]
    others: list[Any]
    spec: pytree.TreeSpec

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: dict[str, Any], parts: Parts) -> "_Inputs":
        leaves, spec = pytree.tree_flatten((args, kwargs))
        numbers = [
            torch.full((), leaf, dtype=parts.number_type, device=parts.device)
            if isinstance(leaf, float)
            else leaf
            for leaf in leaves
        ]
        tensors = [leaf.contiguous() for leaf in numbers if isinstance(leaf, Tensor)]
        return cls(tensors, [_TENSOR if isinstance(n, Tensor) else n for n in numbers], spec)

    def count(self, arguments: int) -> int:
        """Number of tensors in the first so many arguments."""
        args, _ = self.filled(self.tensors)
        return sum(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(args[:arguments]))

    def signature(self) -> tuple[Hashable, ...]:
        """All of the arguments except the values of tensors.

        Raises:
            NotStatic: if one is neither a tensor nor hashable.
        """
        for leaf in self.others:
            if not isinstance(leaf, Hashable):
                raise NotStatic(f"it is given a {type(leaf).__name__}, not a tensor or a number")
        return self.spec, *self.others, *((t.shape, t.dtype, t.device) for t in self.tensors)

    def filled(self, tensors: Sequence[Tensor]) -> Any:
        """The arguments, positional and by name, with other tensors in place."""
        rest = iter(tensors)
        leaves = [next(rest) if leaf is _TENSOR else leaf for leaf in self.others]
        return pytree.tree_unflatten(leaves, self.spec)


def _autocast(device: torch.device) -> torch.dtype | None:
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
