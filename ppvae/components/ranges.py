"""Ranges of the arguments of torch's optimizers and schedules, most of which torch does not check.

Outside of them a fit would silently divide by zero, descend the objective, or not move.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.errors import InputError

_LARGEST = 1e37
"""The largest number that counts as finite, close to the limit of single precision."""


@dataclass(frozen=True)
class _Range:
    """Allowed values of an argument, or of each of its elements if it is a list.

    Attributes:
        words: the values, in words.
        holds: whether a number is allowed.
    """

    words: str
    holds: Callable[[Any], bool]


def _within(words: str, holds: Callable[[float], bool]) -> _Range:
    return _Range(words, lambda value: abs(value) <= _LARGEST and holds(value))


_POSITIVE = _within("above 0 and finite", lambda v: v > 0)
_NONNEGATIVE = _within("0 or more, and finite", lambda v: v >= 0)
_AT_LEAST_1 = _within("at least 1", lambda v: v >= 1)
_SHARE = _within("from 0 to 1", lambda v: 0 <= v <= 1)
_POSITIVE_SHARE = _within("above 0 and at most 1", lambda v: 0 < v <= 1)
_DECAY = _within("0 or more, and below 1", lambda v: 0 <= v < 1)
_SHRINKING = _within("above 0 and below 1", lambda v: 0 < v < 1)
_FINITE = _within("finite", lambda _: True)
_OFF = _Range("false here", lambda v: v is False)
_SWITCH = _Range("true or false", lambda v: isinstance(v, bool))
_ABSENT = _Range("left out here", lambda v: v is None)
_FRESH = _Range("left out here", lambda v: v == -1)

_OPTIMIZER = {
    "betas": _DECAY, "momentum": _DECAY, "momentum_decay": _NONNEGATIVE, "dampening": _SHARE,
    "eps": _NONNEGATIVE, "weight_decay": _NONNEGATIVE, "alpha": _DECAY, "ASGD.alpha": _NONNEGATIVE,
    "rho": _DECAY, "lr_decay": _NONNEGATIVE, "initial_accumulator_value": _NONNEGATIVE,
    "etas": _POSITIVE, "step_sizes": _POSITIVE, "lambd": _NONNEGATIVE, "t0": _NONNEGATIVE,
    "d": _AT_LEAST_1, "ns_steps": _AT_LEAST_1, "ns_coefficients": _FINITE, "beta2_decay": _FINITE,
    "maximize": _OFF, "differentiable": _OFF, "capturable": _OFF,
}  # fmt: skip

_SCHEDULE = {
    "step_size": _AT_LEAST_1, "milestones": _AT_LEAST_1, "gamma": _POSITIVE,
    "total_iters": _AT_LEAST_1, "start_factor": _POSITIVE_SHARE, "end_factor": _SHARE,
    "factor": _SHARE, "ReduceLROnPlateau.factor": _SHRINKING, "power": _NONNEGATIVE,
    "eta_min": _NONNEGATIVE, "T_0": _AT_LEAST_1, "T_mult": _AT_LEAST_1, "base_lr": _NONNEGATIVE,
    "max_lr": _POSITIVE, "step_size_up": _AT_LEAST_1, "step_size_down": _AT_LEAST_1,
    "base_momentum": _DECAY, "max_momentum": _DECAY, "pct_start": _SHARE, "div_factor": _POSITIVE,
    "final_div_factor": _POSITIVE, "patience": _NONNEGATIVE, "cooldown": _NONNEGATIVE,
    "threshold": _NONNEGATIVE, "min_lr": _NONNEGATIVE, "eps": _NONNEGATIVE, "last_epoch": _FRESH,
    "epochs": _ABSENT, "steps_per_epoch": _ABSENT, "scale_fn": _ABSENT,
}  # fmt: skip

_ELBO = {
    "retain_graph": _SWITCH, "strict_enumeration_warning": _SWITCH, "ignore_jit_warnings": _SWITCH,
    "tail_adaptive_beta": _FINITE, "max_iarange_nesting": _ABSENT, "jit_options": _ABSENT,
}  # fmt: skip

_RANGES: dict[str, Mapping[str, _Range]] = {
    "optimizer": _OPTIMIZER, "schedule": _SCHEDULE, "elbo": _ELBO
}  # fmt: skip


def check_ranges(part: str, name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse an invalid argument of a library's optimizer, schedule or bound.

    Args:
        part: the kind of part.
        name: the name of the class.
        arguments: typed and complete; ``None`` is a default without effect.

    Raises:
        InputError: naming the argument, its value, and those it may have.
    """
    ranges = _RANGES.get(part, {})
    for argument, value in arguments.items():
        allowed = ranges.get(f"{name}.{argument}", ranges.get(argument))
        if allowed is None or value is None:
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is not None and not allowed.holds(each):
                raise InputError(
                    f"`{part}.{argument}` is {value}; an argument of {name}, it must be "
                    f"{allowed.words}"
                )
