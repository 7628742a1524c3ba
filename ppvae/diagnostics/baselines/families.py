"""Families of distributions of single numbers, from the distributions of a trace."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from ppvae.programs.sites import base

FAR = 16.0
"""Limit of the unconstrained value of a bounded or positive parameter: exp(16) is 9 million."""


@dataclass(frozen=True)
class Family:
    """A family of distributions of single numbers.

    Attributes:
        name: its name.
        shapes: shapes of the parameters of one number.
        make: returns the distribution for unconstrained parameters, ``(elements, *shape)`` each.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    make: Callable[[Sequence[Tensor]], Any]


def family_of(fn: Any) -> Family | None:
    """The family of a distribution with independent elements, whatever their parameters.

    It is found by the signature and the ``arg_constraints`` of the class, which all distributions
    of torch and Pyro have, and so may a user's own. Arguments that are not real numbers (trials,
    levels) are kept.

    Returns:
        The family; ``None`` if the elements are not independent, or no other distribution of the
        class can be made.
    """
    fn = base(fn)
    if fn.event_shape:
        return None
    try:
        shapes, make = _template(fn, len(fn.batch_shape))
        made = make(iter([torch.zeros(2, *shape, dtype=torch.float64) for shape in shapes]))
        is_like = tuple(made.batch_shape) == (2,) and not made.event_shape
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return Family(type(fn).__name__, shapes, lambda raw: make(iter(raw))) if is_like else None


type _Make = Callable[[Iterator[Tensor]], Any]


def _template(fn: Any, plates: int) -> tuple[tuple[tuple[int, ...], ...], _Make]:
    """Shapes of a distribution's parameters for one number, and a function that makes another.

    Args:
        fn: the distribution.
        plates: number of its batch dimensions that x has; further ones are components.
    """
    shapes: list[tuple[int, ...]] = []
    arguments: dict[str, _Make] = {}
    names = inspect.signature(type(fn)).parameters.keys() - {"validate_args"}
    if {"probs", "logits"} <= names:
        names -= {"probs"}
    for name in sorted(names):
        value, constraint = getattr(fn, name), fn.arg_constraints.get(name)
        if isinstance(value, torch.distributions.Distribution):
            inner, arguments[name] = _template(value, plates)
            shapes += inner
        elif isinstance(value, Tensor) and constraint is not None and not constraint.is_discrete:
            events = constraint.event_dim
            own = value.shape[value.dim() - events :] if events else ()
            shapes.append((*fn.batch_shape[plates:], *own))
            arguments[name] = _parameter(constraint)
        else:
            arguments[name] = _constant(value)

    def make(raw: Iterator[Tensor]) -> Any:
        given = {name: argument(raw) for name, argument in arguments.items()}
        return type(fn)(**given, validate_args=False)  # transformed onto their constraints

    return tuple(shapes), make


def _parameter(constraint: constraints.Constraint) -> _Make:
    transform = biject_to(constraint)
    if constraint is constraints.real:
        return lambda raw: next(raw)
    return lambda raw: transform(next(raw).clamp(-FAR, FAR))


def _constant(value: Any) -> _Make:
    if isinstance(value, Tensor) and value.numel():
        if not bool((value == value.flatten()[0]).all()):
            raise ValueError("an argument that differs from number to number")
        value = value.flatten()[0]
    return lambda _: value
