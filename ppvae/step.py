"""A training step as one graph: batch, bound, gradient, clipping and optimizer, in one launch.

The optimizer is torch's own (or anybody's): its ``step`` is traced like the rest, on stand-ins for
its parameters and its state. What it changes in them is then changed in place in the real ones, so
that between two steps the optimizer, the module and a checkpoint are what they always are, and an
ordinary step may come between.

A graph holds one step, not several: a launch costs a small part of a step, and signals, schedule
and progress bar are heeded between any two.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from ppvae.capture import Parts
from ppvae.graphs import Function, NotStatic, trace
from ppvae.native import Replayed, compiled, is_all_on

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


class CapturedStep:
    """One step of gradient ascent on a bound, as a graph.

    The noise is drawn in the graph from torch's global generator, anew in each step; the weight of
    the KL and the learning rates are inputs, which change without a new graph.

    Args:
        bound: called as ``bound(batch, beta)``, gives `ppvae.objectives.Terms`.
        optimizer: over the parameters of ``bound``; its state is there, for it took a step before.
        batch: makes a batch of what a step is fed; of tensors alone, noise and all.
        per: what the gradient is multiplied by: one over the size of a batch.
        clip: largest norm of the gradient; ``None``: unclipped.
        context: what the bound is computed in: autocast, or the type of new tensors.
        compile: false: the graph is run as it was traced.
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
        self._optimizer, self._batch = optimizer, batch
        self._per, self._clip, self._context, self._compile = per, clip, context, compile
        self._parts = Parts(bound)
        self._run: Function | None = None
        self._settings: Sequence[Mapping[str, Any]] = ()
        self._key: Any = None
        self._scalars: dict[int, tuple[float, Tensor]] = {}

    def __call__(self, feed: Any, beta: float, sums: Tensor) -> None:
        """Take a step, and add its objective, terms and number of data to ``sums``.

        Args:
            feed: what ``batch`` makes a batch of: tensors, of the same shapes in each step.
            beta: weight of the KL.
            sums: one number for each of `ppvae.objectives.Terms`, and one for the data.

        Raises:
            NotStatic: if there is no such graph; nothing has been changed then.
        """
        params = self._parts.params()
        lrs = [float(group["lr"]) for group in self._optimizer.param_groups]
        scalars = [self._scalar(i, n, params[0]) for i, n in enumerate((float(beta), *lrs))]
        state = self._optimizer.state
        slots = [v for p in params for v in state.get(p, {}).values() if isinstance(v, Tensor)]
        kept = [*params, *self._parts.buffers(), *slots, sums]
        fed, spec = pytree.tree_flatten(feed)
        settings = _settings(self._optimizer)
        if self._run is not None and self._settings != settings:
            raise NotStatic("its schedule changes more of the optimizer than the learning rate")
        key = (self._parts.state(), len(slots), [p.shape for p in fed], _has_hooks(params))
        if self._run is None or self._key != key:
            _demand_plain(self._optimizer, params)
            self._settings, self._key = settings, key
            function = self._function(len(slots), spec, len(fed))
            graph = trace(function, [*kept, *scalars, *fed])
            self._run = self._native(graph, len(kept)) if self._compile else graph
        with torch.no_grad():
            self._run(*kept, *scalars, *fed)

    def _scalar(self, place: int, value: float, like: Tensor) -> Tensor:
        """A number as a tensor, made anew only when it changes."""
        known = self._scalars.get(place)
        if known is None or known[0] != value:
            number = torch.full((), value, dtype=self._parts.number_type, device=like.device)
            known = (value, number)
            self._scalars[place] = known
        return known[1]

    def _native(self, graph: GraphModule, kept: int) -> Function:
        run = compiled(graph)
        # A replay repeats what is on the device alone: a number that is computed elsewhere, noise
        # among them, would be frozen.
        return Replayed(run, kept) if is_all_on(graph, "cuda") else run

    def _function(self, slots: int, spec: pytree.TreeSpec, fed: int) -> Function:
        """The step as a function of tensors: parameters, buffers, state, sums, scalars, feed."""

        def function(*flat: Tensor) -> list[Tensor]:
            given, feed = list(flat[: len(flat) - fed]), flat[len(flat) - fed :]
            live, buffers, rest = self._parts.split(given)
            sums, beta, *lrs = rest[slots:]

            # The batch, the bound on it, and its gradient.
            batch = self._batch(pytree.tree_unflatten(list(feed), spec))
            with torch.enable_grad(), self._context():
                terms = self._parts.call([*live, *buffers], (batch, beta), {})
                loss = -terms.objective * self._per
                wanted = [p for p in live if p.requires_grad]
                gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True))

            # The optimizer, on the weights themselves.
            weights = given[: len(live)]
            for weight, leaf in zip(weights, live, strict=True):
                weight.grad = next(gradients) if leaf.requires_grad else None
            if self._clip is not None:
                torch.nn.utils.clip_grad_norm_(weights, self._clip, foreach=False)
            self._update(weights, rest[:slots], lrs)
            rows = torch.full_like(terms.kl, len(batch["x"]))
            sums += torch.stack([*terms, rows]).detach().to(sums)
            return []

        return function

    def _update(
        self, weights: Sequence[Tensor], slots: Sequence[Tensor], lrs: Sequence[Tensor]
    ) -> None:
        """Let a double of the optimizer take its step on stand-ins, and check what it did."""
        real = self._optimizer
        own = self._parts.params()
        stand_in = dict(zip(own, weights, strict=True))
        double: Any = object.__new__(type(real))
        double.__dict__.update(real.__dict__)
        double.param_groups = [
            group | _traceable(group) | {"params": [stand_in[p] for p in group["params"]], "lr": lr}
            for group, lr in zip(real.param_groups, lrs, strict=True)
        ]
        tensors = iter(slots)
        states = {
            weight: {
                name: next(tensors) if isinstance(value, Tensor) else value
                for name, value in real.state.get(p, {}).items()
            }
            for p, weight in stand_in.items()
        }
        double.state = defaultdict(dict, {w: dict(state) for w, state in states.items() if state})
        before = copy.deepcopy([_plain(group) for group in double.param_groups])
        attributes = _plain(vars(double))
        # As torch's own compiler runs it: no number is read back.
        step = type(real).step
        with torch.no_grad(), patch.object(torch.compiler, "_is_compiling_flag", True):
            getattr(step, "__wrapped__", step)(double)  # without the hook for profilers
        if before != [_plain(group) for group in double.param_groups]:
            raise NotStatic("its optimizer counts in its settings, outside of tensors")
        if attributes != _plain(vars(double)):
            raise NotStatic("its optimizer counts in its attributes, outside of tensors")
        for weight, state in states.items():
            after = double.state.get(weight, {})
            if after.keys() != state.keys():
                raise NotStatic("its optimizer makes new state as it goes")
            for name, value in state.items():
                if not isinstance(value, Tensor) and after[name] != value:
                    raise NotStatic(f"its optimizer counts '{name}' outside of tensors")
                if isinstance(value, Tensor) and after[name] is not value:
                    value.copy_(after[name])


def _traceable(group: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under which torch's optimizers do the same arithmetic with no number read back."""
    changes = {"capturable": True, "foreach": False, "fused": False}
    return {name: value for name, value in changes.items() if name in group}


_PLAIN = (bool, int, float, str, tuple, type(None))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if isinstance(value, _PLAIN)}


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The settings that a graph takes as they are."""
    changing = ("lr", "initial_lr")
    return [
        {name: value for name, value in _plain(group).items() if name not in changing}
        for group in optimizer.param_groups
    ]


def _has_hooks(params: Sequence[Tensor]) -> bool:
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in params)


def _demand_plain(optimizer: Optimizer, params: Sequence[Tensor]) -> None:
    """Refuse what a trace of ``step`` would pass over, or would harm.

    Raises:
        NotStatic: for hooks on gradients or steps, and for state that is not tensors and numbers,
            parameter by parameter.
    """
    if _has_hooks(params):
        raise NotStatic("a parameter has hooks on its gradient, which a graph would pass over")
    own = vars(optimizer)
    step_hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    replaced = own.get("step")  # a schedule of torch's puts a wrapper there that only counts
    is_replaced = replaced is not None and not hasattr(replaced, "_wrapped_by_lr_sched")
    if is_replaced or any(own.get(name) for name in step_hooks):
        raise NotStatic("its optimizer's step has hooks, which a graph would pass over")
    known = {id(p) for p in params}
    for p, slot in optimizer.state.items():
        if id(p) not in known or not all(isinstance(v, (Tensor, *_PLAIN)) for v in slot.values()):
            raise NotStatic("its optimizer keeps more than tensors and numbers for each parameter")
