"""Supports of distributions: the values in them, and the first value outside of one."""

from typing import Any, NamedTuple

from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.grid import Grid
from ppvae.distributions.per_column import Columnwise
from ppvae.errors import InputError


class Outside(NamedTuple):
    """An element of data outside of a support.

    Attributes:
        row: its row.
        value: the element.
        takes: the values that the support holds there, in words, with the name of a table's column.
    """

    row: int
    value: float
    takes: str


def first_outside_support(
    support: constraints.Constraint, x: Tensor, mask: Tensor | None = None
) -> Outside | None:
    """The first element of ``x`` outside of ``support``, if there is one.

    Elements that were not observed, where ``mask`` is False, may have any value.

    Shapes: ``x`` is ``(batch, ...)``, and ``mask`` like it.

    Raises:
        InputError: for a support that differs from row to row.
    """
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    support = _of_a_row(support)
    if any(isinstance(end, Tensor) and end.dim() >= x.dim() for end in ends_of(support)):
        raise InputError(
            f"x takes {in_words(support)}, which differ between rows, and so cannot be checked; "
            "give all rows the same bounds (such as `total_count`)"
        )
    outside = ~support.check(x)
    if mask is not None and mask.shape == outside.shape:
        outside = outside & mask
    if not outside.any():
        return None
    where = outside.nonzero()[0]
    takes = in_words(support)
    if isinstance(support, Columnwise):
        place = int(where[-1])
        name = support.columns[place].name
        takes = f"{in_words(support.supports[place])} in column {name!r}"
    return Outside(int(where[0]), float(x[tuple(where)]), takes)


def elements_of(support: Any) -> Any:
    """The support of one element of a value."""
    while isinstance(support, constraints.independent | constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    return _of_a_row(support)


def ends_of(support: Any) -> tuple[Any, Any]:
    """The smallest and largest values of a support, if it has them: numbers, or tensors."""
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def _of_a_row(support: Any) -> Any:
    """A support whose bounds are numbers, or those of one row, where all elements or rows agree.

    The distributions of a trace have bounds for each element of each row.
    """
    kind = type(support)
    is_plain = kind in (constraints.integer_interval, constraints.interval)
    if not is_plain or not any(isinstance(end, Tensor) for end in ends_of(support)):
        return support
    return kind(*(_end(end, kind is constraints.integer_interval) for end in ends_of(support)))


def _end(end: Any, is_whole: bool) -> Any:
    if not isinstance(end, Tensor) or not end.numel():
        return end
    if bool((end == end.flatten()[0]).all()):
        number = float(end.flatten()[0])
        return int(number) if is_whole else number
    is_alike = end.dim() > 1 and bool((end == end[:1]).all())
    return end[0] if is_alike else end


def in_words(support: Any) -> str:
    """The values of a support, in words."""
    elements = elements_of(support)
    if isinstance(elements, Columnwise):
        each = dict.fromkeys(in_words(own) for own in elements.supports)
        return f"{', or '.join(each)}, by its columns"
    if elements is constraints.boolean:
        return "0 and 1"
    if isinstance(elements, Grid):
        return f"multiples of 1/{elements.levels - 1} in [0, 1]"
    if isinstance(elements, constraints.integer_interval):
        low, high = map(_in_words, ends_of(elements))
        return f"integers from {low} to {high}"
    if isinstance(elements, type(constraints.nonnegative_integer)):
        return f"integers from {elements.lower_bound}"
    if isinstance(elements, constraints.interval):
        low, high = map(_in_words, ends_of(elements))
        return f"values in [{low}, {high}]"
    return f"values in {elements}"


def _in_words(end: Any) -> str:
    if isinstance(end, Tensor):
        return f"{float(end.min()):g} or up to {float(end.max()):g}"
    return f"{end:g}"
