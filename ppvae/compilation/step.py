"""A training step as one graph: batch, bound, gradient, clipping and optimizer, in one launch.

The optimizer is torch's own (or anybody's): its ``step`` is traced like the rest, on stand-ins for
its parameters and its state. What it changes in them is then changed in place in the real ones, so
that between two steps the optimizer, the module and a checkpoint are what they always are, and an
ordinary step may come between.

A graph holds one step, not several: a launch costs a small part of a step, and signals, schedule
and progress bar are heeded between any two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from ppvae.bounds.objective import Terms
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
    moves,
    rounding,
    tidy,
)
from ppvae.compilation.native import Replayed, compiled, is_all_on
from ppvae.compilation.optimizers import (
    check_no_hooks,
    check_plain,
    has_hooks,
    settings,
    slots,
    step_on,
)
from ppvae.compilation.parts import Parts

__all__ = ["CapturedStep", "pays"]

Batch = Mapping[str, Tensor]

_COST = 30.0
"""Seconds that compiling a step takes: a cautious figure, on two cores with nothing cached."""

_SAVED = (3e-3, 3e-9, 5e-9)
"""Seconds that a compiled step saves: in any case, per parameter, and per number in a batch."""


def pays(steps: int, parameters: int, numbers: int) -> bool:
    """Whether compiling a training step wins back its cost: a rule of shapes, not a measurement.

    Equal fits decide alike, on whatever machine. What is saved is Pyro's handlers and torch's
    dispatch, in any case, and passes over memory: over the parameters and the optimizer's state,
    and over the batch.

    Args:
        steps: how many whole batches there will be.
        parameters: how many numbers are learned.
        numbers: how many a batch has, over all particles.
    """
    always, per_parameter, per_number = _SAVED
    return steps * (always + per_parameter * parameters + per_number * numbers) > _COST


@dataclass
class _Graph:
    """A step as a graph, which gives the gradients that it climbed by.

    Attributes:
        run: calls it.
        once: calls it on other weights than the module's own.
        error: relative error of its rounding.
        calls: how often it was called.
    """

    run: Function
    once: Function
    error: float
    calls: int = 0


class CapturedStep:
    """One step of gradient ascent on a bound, as a graph.

    The noise is drawn in the graph from torch's global generator, anew in each step; the weight of
    the KL and the learning rates are inputs, which change without a new graph.

    Its first step, and then the steps 1, 2, 3, 4, 8, 16, ... of a graph and every ``check`` steps
    are computed by the bound itself as well, under the same noise: terms, gradients, buffers, and
    what the optimizer makes of the gradients have to be the same.

    Args:
        bound: called as ``bound(batch, beta)``, gives `ppvae.bounds.objective.Terms`.
        optimizer: over the parameters of ``bound``; its state is there, for it took a step before.
        batch: makes a batch of what a step is fed; of tensors alone, noise and all.
        per: what the gradient is multiplied by: one over the size of a batch.
        clip: largest norm of the gradient; ``None``: unclipped.
        context: what the bound is computed in: autocast, or the type of new tensors.
        compile: false: the graph is run as it was traced.
        check: compare every so many steps, beside the first ones; 0: in the first alone.
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
        check: int = CHECK,
    ) -> None:
        self._bound, self._optimizer, self._batch = bound, optimizer, batch
        self._per, self._clip, self._context = per, clip, context
        self._compile, self._check = compile, check
        self._watched = Watched(bound)
        self._is_settled = False
        self._graphs: dict[Any, _Graph] = {}
        self._settings: Sequence[Mapping[str, Any]] | None = None
        self._scalars: dict[int, tuple[float, Tensor]] = {}

    def __call__(self, feed: Any, beta: float, sums: Tensor) -> None:
        """Take a step, and add its objective, terms and number of data to ``sums``.

        Args:
            feed: what ``batch`` makes a batch of: tensors, of the same shapes in each step.
            beta: weight of the KL.
            sums: one number for each of `ppvae.bounds.objective.Terms`, and one for the data.

        Raises:
            Unfaithful: if no graph does what the bound does; the step was taken by the bound then.
            NotStatic: if there is no graph of such a step; nothing has been changed then.
        """
        number, parts = self._watched.state()
        params = parts.params()
        lrs = [float(group["lr"]) for group in self._optimizer.param_groups]
        scalars = [self._scalar(i, n, parts) for i, n in enumerate((float(beta), *lrs))]
        fed, spec = pytree.tree_flatten(feed)
        held = settings(self._optimizer)
        if self._settings is not None and self._settings != held:
            raise NotStatic("its schedule changes more of the optimizer than the learning rate")
        check_no_hooks(self._optimizer)
        state = slots(self._optimizer, params)
        key = (
            number, parts.state(), len(state), *(p.shape for p in fed), has_hooks(params)
        )  # fmt: skip
        graph = self._graphs.get(key)
        if graph is not None and not is_due(graph.calls + 1, self._check):
            graph.calls += 1
            with torch.no_grad():
                graph.run(*params, *parts.buffers(), *state, sums, *scalars, *fed)
            return
        if graph is None:
            check_plain(self._optimizer, params)
            if len(self._graphs) == MOST:
                raise NotStatic(f"its inputs or settings have changed {MOST} times")
        begun = (Noise(params[0].device), [b.detach().clone() for b in parts.buffers()])
        (terms, gradients, rows), moved = self._watched.run(
            lambda: self._by_bound(self._bound, params, feed, beta)
        )
        try:
            if moved and self._is_settled:
                raise Unfaithful(moves(moved))
            if moved:  # the first call of all makes what is made once
                self._climb(params, gradients, terms, rows, sums)
                return
            if graph is None:
                with self._watched.untouched():
                    flat = [*params, *parts.buffers(), *state, sums, *scalars, *fed]
                    graph = self._trace(parts, flat, len(state), spec, len(fed))
                self._graphs[key], self._settings = graph, held
            graph.calls += 1
            self._take(
                graph, parts, (feed, beta, scalars, fed, sums), begun, (terms, gradients, rows)
            )
        except Unfaithful:
            self._climb(params, gradients, terms, rows, sums)
            raise
        except NotStatic:
            begun[0].go_back()
            with torch.no_grad():
                for buffer, value in zip(parts.buffers(), begun[1], strict=True):
                    buffer.copy_(value)
            raise
        finally:
            self._is_settled = True

    def _scalar(self, place: int, value: float, parts: Parts) -> Tensor:
        """A number as a tensor, made anew only when it changes."""
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
        if not self._compile:
            return _Graph(graph, graph, error)
        run = compiled(graph)
        kept = len(flat) - fed - 1 - len(self._optimizer.param_groups)
        # A replay repeats what is on the device alone: a number that is computed elsewhere, noise
        # among them, would be frozen.
        return _Graph(Replayed(run, kept) if is_all_on(graph, "cuda") else run, run, error)

    def _by_bound(
        self, bound: Callable[..., Terms], params: Sequence[Tensor], feed: Any, beta: float
    ) -> tuple[Terms, Values, Tensor]:
        """Terms, gradients before they are clipped, and number of data, by the bound itself."""
        batch = self._batch(feed)
        with torch.enable_grad(), self._context():
            terms = bound(batch, beta)
            wanted = [p for p in params if p.requires_grad]
            loss = -terms.objective * self._per
            found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
        gradients = [next(found) if p.requires_grad else None for p in params]
        return terms, gradients, torch.full_like(terms.kl, len(batch["x"]))

    def _climb(
        self,
        params: Sequence[Tensor],
        gradients: Values,
        terms: Terms,
        rows: Tensor,
        sums: Tensor,
    ) -> None:
        """The step as the optimizer takes it."""
        with _gradients(params, self._clipped(params, gradients)):
            self._optimizer.step()
        sums += torch.stack([*terms, rows]).detach().to(sums)

    def _clipped(self, params: Sequence[Tensor], gradients: Values) -> Values:
        if self._clip is None:
            return gradients
        with _gradients(params, [None if g is None else g.clone() for g in gradients]):
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
                loss = -terms.objective * self._per
                wanted = [p for p in live if p.requires_grad]
                gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True))

            # The optimizer, on the weights themselves.
            weights = given[: len(live)]
            for weight, leaf in zip(weights, live, strict=True):
                weight.grad = next(gradients) if leaf.requires_grad else None
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
        given: tuple[Any, float, Sequence[Tensor], Sequence[Tensor], Tensor],
        begun: tuple[Noise, Sequence[Tensor]],
        eager: tuple[Terms, Values, Tensor],
    ) -> None:
        """Take the graph's step, where the bound's was just computed, if both are the same.

        Raises:
            Unfaithful: if they are not; noise and buffers are as the bound left them then.
        """
        feed, beta, scalars, fed, sums = given
        params, after = parts.params(), Noise(parts.device)
        state = slots(self._optimizer, params)

        def by_bound(weights: Sequence[Tensor], buffers: Sequence[Tensor]) -> Values:
            def bound(*args: Any) -> Any:
                return parts.call([*weights, *buffers], args, {})

            with self._watched.untouched():
                terms, gradients, rows = self._by_bound(bound, weights, feed, beta)
            return [*self._clipped(weights, gradients), *terms, rows, *buffers]

        def by_graph(buffers: Sequence[Tensor]) -> Values:
            return step(buffers)[0]

        def step(buffers: Sequence[Tensor]) -> tuple[Values, list[Tensor], Tensor]:
            """Values of the graph, and what it made of weights and state."""
            ours = [t.detach().clone() for t in (*params, *state)]
            count, total = len(params), torch.zeros_like(sums)
            with torch.no_grad():
                found = iter(
                    graph.once(*ours[:count], *buffers, *ours[count:], total, *scalars, *fed)
                )
            has = [gradient is not None for gradient in eager[1]]
            gradients = [next(found, None) if is_one else None for is_one in has]
            return [*gradients, *total, *buffers], ours, total

        begun[0].go_back()
        buffers = [b.clone() for b in begun[1]]
        values, ours, total = step(buffers)
        drawn = Noise(parts.device)
        terms, gradients, rows = eager
        clipped = self._clipped(params, gradients)
        known = [*clipped, *terms, rows, *parts.buffers()]
        names, others = parts.names()
        words = [
            *(f"the gradient of {tidy(name)}" for name in names),
            *(f"its {name}" for name in (*Terms._fields, "number of data")),
            *map(tidy, others),
        ]
        try:
            place = disagreement(by_bound, by_graph, params, begun, (known, values), graph.error)
        except NotStatic:
            after.go_back()
            raise
        if place is not None:
            after.go_back()
            raise Unfaithful(_differs(words[place], graph.calls))
        # What the optimizer itself makes of the graph's gradients, for comparison.
        real = [*params, *state]
        before = [t.detach().clone() for t in real]
        with _gradients(params, values[: len(params)]):
            self._optimizer.step()
        at = _unlike(before, real, ours)
        with torch.no_grad():
            for own, value in zip(real, before if at is not None else ours, strict=True):
                own.copy_(value)
            if at is not None:
                after.go_back()
                name = tidy(names[at]) if at < len(names) else "the optimizer's state"
                raise Unfaithful(_differs(f"the step of {name}", graph.calls))
            for buffer, value in zip(parts.buffers(), buffers, strict=True):
                buffer.copy_(value)
            sums += total
        drawn.go_back()


def _differs(what: str, call: int) -> str:
    return (
        f"its graph computes something else than the program: {what} differs at the graph's "
        f"step {call}"
    )


@contextmanager
def _gradients(params: Sequence[Tensor], gradients: Values) -> Iterator[None]:
    """The parameters with these gradients; afterwards, with those that they had."""
    own = [p.grad for p in params]
    for p, gradient in zip(params, gradients, strict=True):
        p.grad = gradient
    try:
        yield
    finally:
        for p, gradient in zip(params, own, strict=True):
            p.grad = gradient


_CLOSE = 1e-3
"""Two ways to compute an update may part by this share of it, beside rounding."""


def _unlike(before: Sequence[Tensor], want: Sequence[Tensor], got: Sequence[Tensor]) -> int | None:
    """The place of the first tensor that was changed otherwise."""
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
