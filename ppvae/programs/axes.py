"""The axes of a site: which dimensions of its value or density are particle, data, plate, event.

Dimensions of plates are counted from the right of a site's batch shape, -1, -2, ..., as Pyro counts
them. A value ends in its event dimensions, a log-density does not.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyro
from torch import Tensor


def sum_inside(log_prob: Tensor, kept: Collection[int]) -> Tensor:
    """Sum a log-density over all dimensions but those ``kept``; these stay in place."""
    inner = [dim for dim in range(-log_prob.dim(), 0) if dim not in kept]
    return log_prob.sum(inner, keepdim=True) if inner else log_prob


@dataclass(frozen=True)
class Axes:
    """The axes that all sites of a pair of programs share.

    A value with every plate is ``(particles, *plates, *event)``, its density ``(particles,
    *plates)``, with size 1 for a plate that does not contain the site.

    Attributes:
        data: dimension along which the data are independent; ``None`` where no plate defines it.
            Methods below that concern the data need it.
        nesting: number of nested plates.
    """

    data: int | None
    nesting: int

    @property
    def particle(self) -> int:
        """The dimension of the particles, outside of all plates."""
        return -self.nesting - 1

    @property
    def _data(self) -> int:
        if self.data is None:
            raise ValueError("no plate of the model holds the data, so that they have no axis")
        return self.data

    def plate(self, count: int, name: str = "_particles") -> Any:
        """A plate of ``count`` particles, outside of all plates: decorator or context."""
        return pyro.plate(name, count, dim=self.particle)

    def padded(self, value: Tensor, events: int = 0) -> Tensor:
        """A value, or a density, with a dimension for every plate and the particles."""
        missing = 1 + self.nesting + events - value.dim()
        return value.reshape((1,) * missing + value.shape)

    def by_datum(self, log_prob: Tensor) -> Tensor:
        """A density summed over every plate but particles and data; missing ones have size 1.

        ``(particles, data)`` of ``(particles, *plates)``.
        """
        full = self.padded(sum_inside(log_prob, (self.particle, self._data)))
        return full.movedim((self.particle, self._data), (0, 1)).flatten(1)

    def data_dim(self, events: int = 0) -> int:
        """The dimension of the data in a value with ``events`` event dimensions, from the right."""
        return self._data - events

    @property
    def data_axis(self) -> int:
        """`data_dim` in a value with every plate, counted from the left: the same for any event."""
        return 1 + self.nesting + self._data

    def across(self, value: Tensor, rows: int) -> Tensor:
        """A value with every plate, of one datum, repeated for each of ``rows`` data."""
        shape = list(value.shape)
        shape[self.data_axis] = rows
        return value.expand(shape)

    def columns(self, value: Tensor, events: int) -> Tensor:
        """A value with every plate as ``(particles, data, dimensions)``."""
        moved = value.movedim(self.data_dim(events), 1)
        return moved.reshape(*moved.shape[:2], -1)

    def uncolumns(self, columns: Tensor, like: Tensor, events: int) -> Tensor:
        """The inverse of `columns`: ``(particles, data, dimensions)`` in the shape of ``like``.

        ``like`` is a value of the site; its number of particles does not matter.
        """
        moved = like.movedim(self.data_dim(events), 1)
        return columns.reshape(len(columns), *moved.shape[1:]).movedim(1, self.data_dim(events))

    def spread(self, values: Tensor, events: int) -> Tensor:
        """``(particles, data)`` values in a shape that broadcasts against those of a site."""
        shape = [1] * (1 + self.nesting + events)
        shape[0], shape[self.data_dim(events)] = values.shape
        return values.reshape(shape)
