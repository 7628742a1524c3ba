"""Columns of a mixed table, and likelihoods of any name that the law suites can make."""

from math import prod
from typing import Any

from ppvae.models import Likelihood, likelihoods
from ppvae.networks.columns import Column, ColumnKind

_CYCLE: tuple[tuple[ColumnKind, tuple[str, ...]], ...] = (
    ("real", ()), ("count", ()), ("category", ("a", "b", "c")), ("category", ("f", "m")),
    ("real", ()), ("count", ()),
)  # fmt: skip


def mixed(count: int) -> tuple[Column, ...]:
    """Columns of alternating kinds, named by position."""
    each = (_CYCLE[place % len(_CYCLE)] for place in range(count))
    return tuple(Column(str(place), kind, levels) for place, (kind, levels) in enumerate(each))


def likelihood_of(name: str, shape: tuple[int, ...], **own: Any) -> Likelihood:
    """A likelihood by name; ``PerColumn`` has as many mixed columns as the shape has elements."""
    if name == "PerColumn":
        columns = mixed(prod(shape))
        return likelihoods.PerColumn((len(columns),), columns, **own)
    made: Likelihood = getattr(likelihoods, name)(shape, **own)
    return made
