"""Supports of distributions: what values they hold, and the first value outside of one."""

from typing import Any

from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.grid import Grid


def first_outside_support(
    support: constraints.Constraint, x: Tensor, mask: Tensor | None = None
) -> tuple[int, float] | None:
    """Row and value of the first element of ``x`` that ``support`` does not hold, if there is one.

    Elements that were not observed, where ``mask`` is not True, may be anything.

    Shapes: ``x`` is ``(batch, ...)``, and ``mask`` like it.
    """
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    outside = ~support.check(x)
    if mask is not None and mask.shape == outside.shape:
        outside = outside & mask
    if not outside.any():
        return None
    where = outside.nonzero()[0]
    return int(where[0]), float(x[tuple(where)])


def elements_of(support: Any) -> Any:
    """The support of one element of a value."""
    while isinstance(support, constraints.independent | constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    return support


def in_words(support: Any) -> str:
    """What a support holds, in words."""
    elements = elements_of(support)
    if elements is constraints.boolean:
        return "0 and 1"
    if isinstance(elements, Grid):
        return f"multiples of 1/{elements.levels - 1} in [0, 1]"
    if isinstance(elements, constraints.integer_interval):
        return f"integers from {elements.lower_bound} to {elements.upper_bound}"
    if isinstance(elements, type(constraints.nonnegative_integer)):
        return f"integers from {elements.lower_bound}"
    if isinstance(elements, constraints.interval):
        return f"values in [{elements.lower_bound:g}, {elements.upper_bound:g}]"
    return f"values in {elements}"
