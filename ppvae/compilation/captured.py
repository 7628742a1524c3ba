"""A Pyro program at the price of its arithmetic: a bound, or a whole training step, as one graph.

`capture` is for anybody's Pyro programs: it is Pyro's ``elbo(model, guide)``, compiled. What it
gives is an ``nn.Module`` with the parameters of the programs, whose call is the loss; the rest of a
training loop stays as it is::

    loss = capture(model, guide, Trace_ELBO(), x)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    for x in batches:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

A whole training step, optimizer and all, is `ppvae.compilation.step.CapturedStep`.
"""

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast, override

import torch
from pyro.infer import ELBO
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from ppvae.bounds.traits import traits_of
from ppvae.compilation.graphs import Function, NotStatic, trace
from ppvae.compilation.guard import (
    CHECK,
    MOST,
    Noise,
    Unfaithful,
    Values,
    Watched,
    disagreement,
    is_due,
    is_handled,
    moves,
    rounding,
    tidy,
)
from ppvae.compilation.native import compiled
from ppvae.compilation.parts import Parts
from ppvae.compilation.reachable import Snapshot
from ppvae.errors import InputError
from ppvae.programs import Pair, Program, evaluating
from ppvae.programs.streams import forked

__all__ = ["Captured", "capture"]


def capture(
    model: Program,
    guide: Program,
    elbo: ELBO,
    x: Tensor,
    *,
    compile: bool = True,
    check: int = CHECK,
    **extras: Tensor,
) -> "Captured":
    """The loss of a model and a guide under one of Pyro's bounds, as one compiled module.

    Called as ``loss(x, **extras)`` it gives Pyro's ``elbo.differentiable_loss``: minus the bound,
    in nats, summed over the batch, with fresh draws at each call.

    Args:
        model: a Pyro program, called as ``model(x, **extras)``.
        guide: another, called alike.
        elbo: a bound that has a ``differentiable_loss``.
        x: a batch on which the programs are run once, to find their parameters.
        compile: false: the graph is run as it was traced, operation by operation.
        check: compare graph and programs every so many calls, beside the first ones; see
            `Captured`.
        extras: what the programs take beside ``x``.

    Raises:
        InputError: if the bound has no differentiable loss, or the programs nothing to learn.
    """
    if not callable(getattr(elbo, "differentiable_loss", None)):
        raise InputError(
            f"{type(elbo).__name__} has no differentiable_loss, which a graph is made of; take "
            "Trace_ELBO, TraceMeanField_ELBO, or ppvae.bounds.ImportanceWeightedELBO"
        )
    before = Snapshot({"model": model, "guide": guide})
    # What the programs count by has not been asked for yet, and is put back.
    with _buffers_kept(before.modules()):
        loss = _Loss(Pair(model, guide, {"x": x, **extras}), elbo)
        # Once as it is: a bound counts the plates at its first call, which is no part of the graph.
        with forked(loss.pair.device), evaluating(loss), torch.enable_grad():
            loss(x, **extras)
    before.put_back(counts=True)
    return Captured(loss, compile=compile, check=check)


class _Loss(nn.Module):
    """Pyro's loss of a pair of programs."""

    def __init__(self, pair: Pair, elbo: ELBO) -> None:
        super().__init__()
        self.pair, self.elbo = pair, elbo

    def forward(self, x: Tensor, **extras: Tensor) -> Tensor:
        loss: Tensor = cast("Any", self.elbo).differentiable_loss(
            self.pair.call_model, self.pair.call_guide, x, **extras
        )
        return loss


class Captured(nn.Module):
    """A module whose call is traced once per signature of its inputs, and compiled.

    It computes what the module computes, gradients of its parameters included, for modules that
    give one number to differentiate (a loss, a bound) and any others beside it. Optimizers,
    clipping, autocast and distributed training see an ordinary module: its parameters are those of
    ``module``, and so is its state, under the prefix ``module.``.

    A signature is made of the shapes and types of the tensors, of autocast, of whether gradients
    are recorded, and of all that the module reaches in Python: modules, parameters, buffers, hooks
    and attributes at any depth, containers, closures, and the globals that its code names. What
    changed of this since the last call leads to another trace. Arguments of type float are none of
    it: they may change without a new trace, as the weight of a KL does. Checks of arguments and
    supports, and warnings of NaN, are off in a graph.

    The first call of a signature runs the module itself, whose answer counts. What it changes in
    Python by running (a list that counts, an iterator, a random generator of its own) a graph would
    freeze: such a module is run as it is, from then on. So is one whose graph computes something
    else. That is looked for, without a list of what may be the cause, by computing both under the
    same noise: at the calls 1, 2, 3, 4, 8, 16, ... of a graph, and then every ``check`` calls.

    Gradients are computed together with the value, and reach the parameters alone, once: neither
    the inputs nor second derivatives.

    Args:
        module: gives a tensor, or tensors in tuples or dictionaries.
        compile: false: the graph is run as it was traced.
        check: compare value and gradients with the module's own every so many calls, beside the
            first ones; 1: in each call; 0: in the first alone.
        tell: given the sentence that says why a module cannot be captured; default: a warning.

    Attributes:
        enabled: false: call the module itself, as for the one ragged batch of an epoch.
        reason: why the module is called itself, where it cannot be captured; ``""`` where it can.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        compile: bool = True,
        check: int = CHECK,
        tell: Callable[[str], None] = warnings.warn,
    ) -> None:
        super().__init__()
        if check < 0:
            raise InputError(f"check is {check}; it is a number of calls, or 0 for the first alone")
        self.module = module
        self.enabled = True
        self._tell = tell
        self.reason = ""
        self._compile, self._check = compile, check
        self._watched = Watched(module)
        self._is_settled = False
        self._graphs: dict[Hashable, _Graph] = {}
        elbos = (getattr(part, "elbo", None) for part in module.modules())
        if any(isinstance(elbo, ELBO) and traits_of(type(elbo)).enumerates for elbo in elbos):
            self._give_up("it enumerates latents, and Pyro finds the terms of that sum as it goes")

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.enabled or self.reason or is_handled():
            self._is_settled = True
            return self.module(*args, **kwargs)
        try:
            number, parts = self._watched.state()
            leaves, spec = pytree.tree_flatten((args, kwargs))
            device = parts.device
            # A number becomes a tensor: its value is no part of the graph.
            numbers = [
                torch.full((), leaf, dtype=parts.number_type, device=device)
                if isinstance(leaf, float)
                else leaf
                for leaf in leaves
            ]
            key = (spec, *map(_signature, numbers), number, parts.state(), _autocast(device))
        except NotStatic as why:
            self._give_up(str(why))
            return self.module(*args, **kwargs)
        tensors = [leaf.contiguous() for leaf in numbers if isinstance(leaf, Tensor)]
        graph = self._graphs.get(key)
        if graph is not None and not is_due(graph.calls + 1, self._check):
            graph.calls += 1
            return graph(parts, tensors)
        noise, buffers = Noise(device), [b.detach().clone() for b in parts.buffers()]
        eager, moved = self._watched.run(lambda: self.module(*args, **kwargs))
        try:
            if moved:
                # The first call of all makes what is made once.
                if self._is_settled:
                    raise Unfaithful(moves(moved))
                self._is_settled = True
                return eager
            self._is_settled = True
            if graph is None:
                if len(self._graphs) == MOST:
                    raise NotStatic(f"its inputs or settings have changed {MOST} times")
                template = [None if isinstance(leaf, Tensor) else leaf for leaf in numbers]
                with self._watched.untouched():
                    graph = self._trace(parts, tensors, template, spec)
                self._graphs[key] = graph
            graph.calls += 1
            return self._faithful(graph, parts, tensors, (args, kwargs), eager, (noise, buffers))
        except NotStatic as why:
            self._give_up(str(why))
            return eager

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._graphs.clear()
        self._tell(f"the bound runs uncompiled: {reason}")

    def _faithful(
        self,
        graph: "_Graph",
        parts: Parts,
        tensors: Sequence[Tensor],
        given: tuple[Sequence[Any], dict[str, Any]],
        eager: Any,
        begun: tuple[Noise, Sequence[Tensor]],
    ) -> Any:
        """The graph's answer where the program's was just computed, if both are the same.

        Raises:
            Unfaithful: if they are not; noise and buffers are as the program left them then.
        """
        params, after = parts.params(), Noise(parts.device)
        is_learned = [p.requires_grad for p in params]

        def values(outputs: Any, params: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
            """Gradients, outputs, buffers."""
            leaves = pytree.tree_leaves(outputs)
            gradients: Values = [None] * len(params)
            if graph.loss is not None and leaves[graph.loss].requires_grad:
                wanted = [p for p, is_one in zip(params, is_learned, strict=True) if is_one]
                found = iter(
                    torch.autograd.grad(
                        leaves[graph.loss], wanted, allow_unused=True, retain_graph=True
                    )
                )
                gradients = [next(found) if is_one else None for is_one in is_learned]
            return [*gradients, *leaves, *buffers]

        def by_program(params: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
            args, kwargs = given
            with self._watched.untouched():
                return values(parts.call([*params, *buffers], args, kwargs), params, buffers)

        def by_graph(buffers: Sequence[Tensor]) -> Values:
            everything = graph.outputs(*params, *buffers, *tensors)
            return graph.values(everything, buffers)

        begun[0].go_back()
        buffers = [b.clone() for b in begun[1]]
        everything = graph.outputs(*params, *buffers, *tensors)
        drawn = Noise(parts.device)
        found = (values(eager, params, parts.buffers()), graph.values(everything, buffers))
        try:
            place = disagreement(by_program, by_graph, params, begun, found, graph.error)
        except NotStatic:
            after.go_back()
            raise
        if place is not None:
            after.go_back()
            names, others = parts.names()
            name = [*names, *[""] * graph.spec.num_leaves, *others][place]
            what = f"the gradient of {tidy(name)}" if place < len(params) else "its value"
            if place >= len(params) + graph.spec.num_leaves:
                what = tidy(name)
            raise Unfaithful(
                f"its graph computes something else than the program: {what} differs at call "
                f"{graph.calls}"
            )
        drawn.go_back()
        with torch.no_grad():
            for own, value in zip(parts.buffers(), buffers, strict=True):
                own.copy_(value)
        return graph.answer(parts, tensors, everything)

    def _trace(
        self,
        parts: Parts,
        tensors: Sequence[Tensor],
        template: Sequence[Any],
        spec: pytree.TreeSpec,
    ) -> "_Graph":
        with_grad = torch.is_grad_enabled()
        found: dict[str, Any] = {}

        def function(*flat: Tensor) -> list[Tensor]:
            params, buffers, given = parts.split(flat)
            filled = iter(given)
            leaves = [next(filled) if leaf is None else leaf for leaf in template]
            args, kwargs = pytree.tree_unflatten(leaves, spec)
            with torch.set_grad_enabled(with_grad):
                outputs, found["spec"] = pytree.tree_flatten(
                    parts.call([*params, *buffers], args, kwargs)
                )
                found["loss"], gradients = _gradients(outputs, params)
            found["has"] = [gradient is not None for gradient in gradients]
            return [*outputs, *(g for g in gradients if g is not None)]

        flat = [*parts.params(), *parts.buffers(), *tensors]
        graph = trace(function, flat)
        error = rounding(graph)
        run = compiled(graph) if self._compile else graph
        return _Graph(run, found["spec"], found["loss"], tuple(found["has"]), error)


def _gradients(
    outputs: Sequence[Any], params: Sequence[Tensor]
) -> tuple[int | None, Sequence[Tensor | None]]:
    """Which output is differentiable, and its gradient with respect to each parameter."""
    if not all(isinstance(output, Tensor) for output in outputs):
        raise NotStatic("it gives something that is no tensor")
    losses = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not losses:
        return None, [None] * len(params)
    if len(losses) > 1 or outputs[losses[0]].numel() != 1:
        raise NotStatic("it gives more than one number to differentiate")
    wanted = [p for p in params if p.requires_grad]
    found = iter(torch.autograd.grad(outputs[losses[0]], wanted, allow_unused=True))
    return losses[0], [next(found) if p.requires_grad else None for p in params]


@dataclass
class _Graph:
    """A graph of parameters, buffers and inputs that gives the outputs, then the gradients.

    Attributes:
        run: calls it.
        spec: how the outputs hang together.
        loss: number of the output that the gradients are of; ``None``: there are none.
        has: for each parameter, whether the loss depends on it.
        error: relative error of its rounding.
        calls: how often it was called.
    """

    run: Function
    spec: pytree.TreeSpec
    loss: int | None
    has: tuple[bool, ...]
    error: float
    calls: int = 0

    def __call__(self, parts: Parts, tensors: Sequence[Tensor]) -> Any:
        return self.answer(parts, tensors, None)

    def answer(self, parts: Parts, tensors: Sequence[Tensor], known: list[Tensor] | None) -> Any:
        """The outputs, as a node of autograd's graph; ``known``: what `outputs` gave already."""
        flat = [*parts.params(), *parts.buffers(), *tensors]
        if self.loss is None:
            outputs = self.outputs(*flat) if known is None else known
        else:
            outputs = _Differentiable.apply(self, known, len(parts.params()), *flat)
        return pytree.tree_unflatten(list(outputs), self.spec)

    def outputs(self, *flat: Tensor) -> list[Tensor]:
        """Outputs and gradients."""
        with _no_autocast(flat[0].device), torch.no_grad():
            return list(self.run(*flat))

    def values(self, everything: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
        """Gradients, of each parameter, then outputs and buffers."""
        found = iter(everything[self.spec.num_leaves :])
        gradients = [next(found) if has else None for has in self.has]
        return [*gradients, *everything[: self.spec.num_leaves], *buffers]


class _Differentiable(torch.autograd.Function):
    """A graph that has computed its gradients already, as a node of autograd's graph."""

    @staticmethod
    @override
    def forward(
        ctx: Any, graph: _Graph, known: list[Tensor] | None, params: int, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the graph, and keep its gradients."""
        everything = graph.outputs(*flat) if known is None else known
        count = graph.spec.num_leaves
        ctx.save_for_backward(*everything[count:])
        ctx.graph, ctx.rest = graph, len(flat) - params
        outputs = tuple(everything[:count])
        ctx.mark_non_differentiable(*(o for i, o in enumerate(outputs) if i != graph.loss))
        return outputs

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Scale the gradients."""
        seed = seeds[ctx.graph.loss]
        kept = iter(ctx.saved_tensors)
        gradients = [next(kept) * seed if has else None for has in ctx.graph.has]
        return None, None, None, *gradients, *[None] * ctx.rest


@contextmanager
def _buffers_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Buffers, and tensors that are plain attributes, are afterwards what they were."""
    kept = [
        (own, name, value, value.detach().clone())
        for module in modules
        for own in (module._buffers, vars(module))
        for name, value in own.items()
        if isinstance(value, Tensor) and not is_lazy(value)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for own, name, value, copy in kept:
                own[name] = value
                value.copy_(copy)


def _signature(leaf: Any) -> Hashable:
    if not isinstance(leaf, Hashable):
        raise NotStatic(f"it is given a {type(leaf).__name__}, not a tensor or a number")
    return (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _autocast(device: torch.device) -> torch.dtype | None:
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _no_autocast(device: torch.device) -> torch.autocast:
    """The casts are in the graph; what has none was to have none."""
    return torch.autocast(device.type, enabled=False)
