"""A training step as one graph: batch, bound, gradient, clipping and optimizer in one launch.

The optimizer is torch's or any other: its ``step`` is traced like the rest, on stand-ins for its
parameters and its state. The changes are then made in place in the real ones, so that between two
steps the optimizer, the module and a checkpoint are as usual, and ordinary steps may be mixed in.

A graph holds one step, not several: a launch costs a small part of a step, and signals, schedule
and progress bar are served after each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from ppvae.bounds.objective import Terms
from ppvae.compilation.beginning import Begun, Rerun
from ppvae.compilation.disagreement import disagreement, rounding
from ppvae.compilation.graphs import Function, NotStatic, give_unwidened, trace
from ppvae.compilation.guard import CHECK, Guard, Unfaithful, tidy
from ppvae.compilation.native import Replayed, compiled, is_all_on
from ppvae.compilation.optimizers import (
    check_no_hooks,
    check_plain,
    has_hooks,
    settings,
    slots,
    step_on,
)
from ppvae.compilation.tensors import Parts, Values, gradients

Batch = Mapping[str, Tensor]

_COST = 8.0
"""Assumed seconds to compile a step: between a first fit, which waits longer, and later ones, which
find the code in the user's cache. The cache is not consulted, as equal fits would then differ."""

_SAVED = (3.5e-3, 3e-9, 2e-8)
"""Seconds that a compiled step saves: in any case, per parameter, and per element of a batch."""


def pays(steps: int, parameters: int, numbers: int) -> bool:
    """Whether compiling a training step saves more time than it takes: a rule by shapes.

    Nothing is measured, so that equal fits decide the same on any machine. Compiling always saves
    Pyro's handlers and torch's dispatch, and also passes over memory: over the parameters and the
    optimizer's state, and over the batch.

    Args:
        steps: number of whole batches in the fit.
        parameters: number of learned parameters.
        numbers: number of elements of a batch, over all particles.
    """
    always, per_parameter, per_number = _SAVED
    return steps * (always + per_parameter * parameters + per_number * numbers) > _COST


@dataclass
class _Graph:
    """A step as a graph, which returns the gradients that it used.

    Attributes:
        run: calls it.
        once: calls it on other weights than the module's own.
        error: relative rounding error.
        calls: number of calls.
    """

    run: Function
    once: Function
    error: float
    calls: int = 0


class CapturedStep:
    """One step of gradient ascent on a bound, as a graph.

    The graph draws its noise from torch's global generator, anew in each step; the weight of the KL
    and the learning rates are inputs, which change without a new graph.

    The first step of all, and the steps 1, 2, 3, 4, 8, 16, ... and every 512 steps of a graph, are
    computed by the bound itself as well, with the same noise: terms, gradients, buffers, and the
    optimizer's update must be the same.

    Args:
        bound: called as ``bound(batch, beta)``, returns `ppvae.bounds.objective.Terms`.
        optimizer: over the parameters of ``bound``; it has its state from an earlier step.
        batch: makes a batch from the feed of a step, which has only tensors, including noise.
        per: factor of the gradient: one over the size of a batch.
        clip: largest norm of the gradient; ``None``: no clipping.
        context: context of the bound's computation: autocast, or the type of new tensors.
        compile: false: the graph is run as traced.
    """

    def __init__(
        self,
        bound: nn.Module,
        optimizer: Optimizer,
        batch: Callable[[Any], Batch],
        *,
        per: float,
        clip: float | None,
        context: Callable[[], AbstractContextManager[None]],
        compile: bool = True,
    ) -> None:
        self._bound, self._optimizer, self._batch = bound, optimizer, batch
        self._per, self._clip, self._context = per, clip, context
        self._compile = compile
        self._guard: Guard[_Graph] = Guard(bound, CHECK)
        self._settings: Sequence[Mapping[str, Any]] | None = None
        self._scalars: dict[int, tuple[float, Tensor]] = {}

    def __call__(self, feed: Any, beta: float, sums: Tensor) -> None:
        """Take a step, and add its objective, terms and number of data to ``sums``.

        Args:
            feed: the argument of ``batch``: tensors, of the same shapes in each step.
            beta: weight of the KL.
            sums: one number for each of `ppvae.bounds.objective.Terms`, and one for the data.

        Raises:
            Unfaithful: if no graph matches the bound; the step was then taken by the bound.
            NotStatic: if there is no graph of such a step; nothing was changed.
        """
        guard = self._guard
        number, parts = guard.watched.state()
        params = parts.params()
        lrs = [float(group["lr"]) for group in self._optimizer.param_groups]
        scalars = [self._scalar(i, n, parts) for i, n in enumerate((float(beta), *lrs))]
        fed, spec = pytree.tree_flatten(feed)
        held = settings(self._optimizer)
        if self._settings is not None and self._settings != held:
            raise NotStatic("its schedule changes more of the optimizer than the learning rate")
        check_no_hooks(self._optimizer)
        state = slots(self._optimizer, params)
        shapes = tuple(p.shape for p in fed)
        key = (number, parts.state(), len(state), shapes, has_hooks(params))
        flat = [*params, *parts.buffers(), *state, sums, *scalars, *fed]
        graph = guard.get(key)
        if graph is not None and guard.trusts(graph):
            with torch.no_grad():
                graph.run(*flat)
            return
        if graph is None:
            check_plain(self._optimizer, params)
            guard.check_number()
        begun = Begun.now(parts)
        eager, moved = guard.watched.run(lambda: self._by_bound(self._bound, params, feed, beta))
        try:
            if guard.settles(moved):
                self._climb(params, eager, sums)
                return
            if graph is None:
                graph = guard.add(key, lambda: self._trace(parts, flat, len(state), spec, len(fed)))
                self._settings = held
            graph.calls += 1
            self._take(graph, parts, _Given(feed, beta, [*scalars, *fed], sums), begun, eager)
        except Unfaithful:
            self._climb(params, eager, sums)
            raise
        except NotStatic:
            begun.put_back(parts)
            raise

    def _scalar(self, place: int, value: float, parts: Parts) -> Tensor:
        """A number as a tensor, created again only when it changes."""
        known = self._scalars.get(place)
        if known is None or known[0] != value:
            number = torch.full((), value, dtype=parts.number_type, device=parts.device)
            known = (value, number)
            self._scalars[place] = known
        return known[1]

    def _trace(
        self, parts: Parts, flat: Sequence[Tensor], count: int, spec: pytree.TreeSpec, fed: int
    ) -> _Graph:
        graph = trace(self._function(parts, count, spec, fed), flat)
        error = rounding(graph)
        give_unwidened(graph)
        if not self._compile:
            return _Graph(graph, graph, error)
        run = compiled(graph)
        kept = len(flat) - fed - 1 - len(self._optimizer.param_groups)
        # A replay repeats only what is on the device: a number computed elsewhere, such as noise,
        # would be frozen.
        return _Graph(Replayed(run, kept) if is_all_on(graph, "cuda") else run, run, error)

    def _by_bound(
        self, bound: Callable[..., Terms], params: Sequence[Tensor], feed: Any, beta: float
    ) -> "_Found":
        """Terms, gradients before clipping, and number of data, by the bound itself."""
        batch = self._batch(feed)
        with torch.enable_grad(), self._context():
            terms = bound(batch, beta)
            slopes = gradients(-terms.objective * self._per, params)
        return _Found(terms, slopes, torch.full_like(terms.kl, len(batch["x"])))

    def _climb(self, params: Sequence[Tensor], found: "_Found", sums: Tensor) -> None:
        """The optimizer's own step."""
        with _given_gradients(params, self._clipped(params, found.gradients)):
            self._optimizer.step()
        sums += torch.stack([*found.terms, found.rows]).detach().to(sums)

    def _clipped(self, params: Sequence[Tensor], slopes: Values) -> Values:
        if self._clip is None:
            return slopes
        with _given_gradients(params, [None if g is None else g.clone() for g in slopes]):
            torch.nn.utils.clip_grad_norm_(params, self._clip)
            return [p.grad for p in params]

    def _function(self, parts: Parts, count: int, spec: pytree.TreeSpec, fed: int) -> Function:
        """The step as a function of tensors: parameters, buffers, state, sums, scalars, feed."""

        def function(*flat: Tensor) -> list[Tensor]:
            given, feed = list(flat[: len(flat) - fed]), flat[len(flat) - fed :]
            live, buffers, rest = parts.split(given)
            sums, beta, *lrs = rest[count:]

            # The batch, the bound on it, and its gradient.
            batch = self._batch(pytree.tree_unflatten(list(feed), spec))
            with torch.enable_grad(), self._context():
                terms = parts.call([*live, *buffers], (batch, beta), {})
                slopes = gradients(-terms.objective * self._per, live)

            # The optimizer, on the weights themselves.
            weights = given[: len(live)]
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope
            if self._clip is not None:
                torch.nn.utils.clip_grad_norm_(weights, self._clip, foreach=False)
            step_on(self._optimizer, parts.params(), weights, rest[:count], lrs)
            rows = torch.full_like(terms.kl, len(batch["x"]))
            sums += torch.stack([*terms, rows]).detach().to(sums)
            return [weight.grad for weight in weights if weight.grad is not None]

        return function

    def _take(
        self,
        graph: _Graph,
        parts: Parts,
        given: "_Given",
        begun: Begun,
        eager: "_Found",
    ) -> None:
        """Take the graph's step after the bound's was computed, if both are the same.

        Raises:
            Unfaithful: if they differ; noise and buffers are then as the bound left them.
        """
        params = parts.params()
        state = slots(self._optimizer, params)

        def by_bound(weights: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
            def bound(*args: Any) -> Any:
                return parts.call([*weights, *buffers], args, {})

            with self._guard.watched.untouched():
                found = self._by_bound(bound, weights, given.feed, given.beta)
            return self._values(found, weights, buffers)

        def step(buffers: Sequence[Tensor]) -> tuple[Values, list[Tensor], Tensor]:
            """Values of the graph, and its results for weights, state and sums."""
            ours = [t.detach().clone() for t in (*params, *state)]
            count, total = len(params), torch.zeros_like(given.sums)
            with torch.no_grad():
                slopes = iter(
                    graph.once(*ours[:count], *buffers, *ours[count:], total, *given.inputs)
                )
            known = [
                None if slope is None or (own := next(slopes, None)) is None else own.to(slope)
                for slope in eager.gradients
            ]
            return [*known, *total, *buffers], ours, total

        with Rerun(parts, begun) as rerun:
            values, ours, total = step(rerun.buffers)
            rerun.computed()
            found = (self._values(eager, params, parts.buffers()), values)
            place = disagreement(
                by_bound, lambda buffers: step(buffers)[0], params, begun, found, graph.error
            )
            if place is not None:
                raise Unfaithful(_differs(_words(parts)[place], graph.calls))
            self._check_update(parts, values[: len(params)], [*params, *state], ours, graph.calls)
            given.sums.add_(total)

    def _values(
        self, found: "_Found", weights: Sequence[Tensor], buffers: Sequence[Tensor]
    ) -> Values:
        """The compared values: clipped gradients, terms, number of data, buffers."""
        return [*self._clipped(weights, found.gradients), *found.terms, found.rows, *buffers]

    def _check_update(
        self,
        parts: Parts,
        slopes: Values,
        real: Sequence[Tensor],
        ours: Sequence[Tensor],
        calls: int,
    ) -> None:
        """Set weights and state to the graph's results, if the optimizer's are the same.

        Raises:
            Unfaithful: if they differ; weights and state are then as before.
        """
        before = [t.detach().clone() for t in real]
        with _given_gradients(parts.params(), slopes):
            self._optimizer.step()
        at = _unlike(before, real, ours)
        with torch.no_grad():
            for own, value in zip(real, before if at is not None else ours, strict=True):
                own.copy_(value)
        if at is not None:
            names, _ = parts.names()
            name = tidy(names[at]) if at < len(names) else "the optimizer's state"
            raise Unfaithful(_differs(f"the step of {name}", calls))


class _Given(NamedTuple):
    """The arguments of a step: as feed and beta, and as inputs of its graph."""

    feed: Any
    beta: float
    inputs: Sequence[Tensor]
    sums: Tensor


class _Found(NamedTuple):
    """The results of the bound: terms, the gradient by each parameter, number of data."""

    terms: Terms
    gradients: Values
    rows: Tensor


def _words(parts: Parts) -> list[str]:
    """Names of the compared values, in the user's terms."""
    names, others = parts.names()
    return [
        *(f"the gradient of {tidy(name)}" for name in names),
        *(f"its {name}" for name in (*Terms._fields, "number of data")),
        *map(tidy, others),
    ]


def _differs(what: str, call: int) -> str:
    return (
        f"its graph computes something else than the program: {what} differs at the graph's "
        f"step {call}"
    )


@contextmanager
def _given_gradients(params: Sequence[Tensor], slopes: Values) -> Iterator[None]:
    """Context in which the parameters have these gradients; restored at the end."""
    own = [p.grad for p in params]
    for p, gradient in zip(params, slopes, strict=True):
        p.grad = gradient
    try:
        yield
    finally:
        for p, gradient in zip(params, own, strict=True):
            p.grad = gradient


_CLOSE = 1e-3
"""Two computations of an update may differ by this share of it, in addition to rounding."""


def _unlike(before: Sequence[Tensor], want: Sequence[Tensor], got: Sequence[Tensor]) -> int | None:
    """The position of the first tensor whose change differs."""
    for i, (old, one, other) in enumerate(zip(before, want, got, strict=True)):
        if not one.is_floating_point():
            if not torch.equal(one, other):
                return i
            continue
        error = 8 * torch.finfo(one.dtype).eps
        most = _CLOSE * (one - old).norm() + error * one.norm()
        if bool((other - one).norm() <= most):
            continue
        if not bool(torch.isclose(other, one, rtol=_CLOSE, atol=0.0, equal_nan=True).all()):
            return i  # unless both are no longer finite
    return None
