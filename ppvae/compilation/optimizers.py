"""Optimizers as parts of a graph: their state as tensors, and their step on stand-ins.

An optimizer that cannot be part of a graph is refused (`NotStatic`): one with hooks, or with
counters or state outside of tensors.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.optim import Optimizer

from ppvae.compilation.graphs import NotStatic


def keep_counts_on_device(optimizer: Optimizer) -> None:
    """Make an optimizer count its steps on the device, where a replayed graph reaches them."""
    for group in optimizer.param_groups:
        group |= {"capturable": True} if "capturable" in group else {}
    # Torch would warn about the few steps that are not replayed.
    vars(optimizer)["_warned_capturable_if_run_uncaptured"] = True


def mark_as_stepped(optimizer: Optimizer, *, stepped: bool) -> None:
    """Tell torch's schedules whether steps were taken, as they cannot see those of a graph."""
    vars(optimizer)["_opt_called"] = stepped


def slots(optimizer: Optimizer, params: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of an optimizer's state, parameter by parameter."""
    state = optimizer.state
    return [v for p in params for v in state.get(p, {}).values() if isinstance(v, Tensor)]


def settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The settings of each group that are constants in a graph: all except the learning rate."""
    changing = ("lr", "initial_lr")
    return [
        {name: value for name, value in _plain(group).items() if name not in changing}
        for group in optimizer.param_groups
    ]


def has_hooks(params: Sequence[Tensor]) -> bool:
    """Whether a parameter has hooks on its gradient."""
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in params)


def check_no_hooks(optimizer: Optimizer) -> None:
    """Refuse hooks on steps, which a graph would not call.

    Raises:
        NotStatic: if there are any.
    """
    own = vars(optimizer)
    step_hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    replaced = own.get("step")  # torch's schedules put a wrapper there that only counts
    is_replaced = replaced is not None and not hasattr(replaced, "_wrapped_by_lr_sched")
    if is_replaced or any(own.get(name) for name in step_hooks):
        raise NotStatic("its optimizer's step has hooks, which a graph would pass over")


def check_plain(optimizer: Optimizer, params: Sequence[Tensor]) -> None:
    """Refuse hooks on gradients, and state other than tensors and numbers per parameter.

    Raises:
        NotStatic: if there is any.
    """
    if has_hooks(params):
        raise NotStatic("a parameter has hooks on its gradient, which a graph would pass over")
    known = {id(p) for p in params}
    if any(id(p) not in known for group in optimizer.param_groups for p in group["params"]):
        raise NotStatic("its optimizer has parameters that are not, or no longer, the program's")
    for p, slot in optimizer.state.items():
        if id(p) not in known or not all(isinstance(v, (Tensor, *_PLAIN)) for v in slot.values()):
            raise NotStatic("its optimizer keeps more than tensors and numbers for each parameter")


def step_on(
    optimizer: Optimizer,
    params: Sequence[Tensor],
    weights: Sequence[Tensor],
    state: Sequence[Tensor],
    lrs: Sequence[Tensor],
) -> None:
    """Take an optimizer's step on stand-ins for its parameters, state and learning rates.

    Args:
        optimizer: a copy of it takes the step; it is unchanged.
        params: its parameters.
        weights: changed in place of ``params``; they have the gradients.
        state: changed in place of `slots`.
        lrs: the learning rate of each group.

    Raises:
        NotStatic: if the step changed anything but tensors.
    """
    stand_in = dict(zip(params, weights, strict=True))
    double: Any = object.__new__(type(optimizer))
    double.__dict__.update(optimizer.__dict__)
    double.param_groups = [
        group | _traceable(group) | {"params": [stand_in[p] for p in group["params"]], "lr": lr}
        for group, lr in zip(optimizer.param_groups, lrs, strict=True)
    ]
    tensors = iter(state)
    states = {
        weight: {
            name: next(tensors) if isinstance(value, Tensor) else value
            for name, value in optimizer.state.get(p, {}).items()
        }
        for p, weight in stand_in.items()
    }
    double.state = defaultdict(dict, {w: dict(slot) for w, slot in states.items() if slot})
    before = copy.deepcopy([_plain(group) for group in double.param_groups])
    attributes = _plain(vars(double))
    # As torch's own compiler runs it: no number is read back.
    step = type(optimizer).step
    with torch.no_grad(), patch.object(torch.compiler, "_is_compiling_flag", True):
        getattr(step, "__wrapped__", step)(double)  # without the hook for profilers
    if before != [_plain(group) for group in double.param_groups]:
        raise NotStatic("its optimizer counts in its settings, outside of tensors")
    if attributes != _plain(vars(double)):
        raise NotStatic("its optimizer counts in its attributes, outside of tensors")
    for weight, slot in states.items():
        _write_back(slot, double.state.get(weight, {}))


def _write_back(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Set the tensors of one parameter's state to the result of the step."""
    if after.keys() != before.keys():
        raise NotStatic("its optimizer makes new state as it goes")
    for name, value in before.items():
        if not isinstance(value, Tensor) and after[name] != value:
            raise NotStatic(f"its optimizer counts '{name}' outside of tensors")
        if isinstance(value, Tensor) and after[name] is not value:
            value.copy_(after[name])


def _traceable(group: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with which torch's optimizers do the same arithmetic without reading values."""
    changes = {"capturable": True, "foreach": False, "fused": False}
    return {name: value for name, value in changes.items() if name in group}


_PLAIN = (bool, int, float, str, tuple, type(None))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
