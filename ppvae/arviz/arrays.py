"""Assembly of draws that arrive in parts into whole arrays.

Each array is allocated once and filled, as all together may take a GiB.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Array(NamedTuple):
    """Numbers with the names of their dimensions; draws of all chains lie along ``sample``."""

    dims: tuple[str, ...]
    values: NDArray[Any]


Arrays = dict[str, dict[str, Array]]
"""By group and variable."""


class Part(NamedTuple):
    """Some draws for some of the data.

    Attributes:
        sample: number of their first draw.
        row: number of their first datum.
        arrays: the draws.
    """

    sample: int
    row: int
    arrays: Arrays


def whole(parts: Iterable[Part], samples: int, rows: int) -> Arrays:
    """All parts together: ``samples`` draws for ``rows`` data."""
    arrays_of: Arrays = {}
    sizes = {"sample": samples, "data": rows}
    for part in parts:
        first = {"sample": part.sample, "data": part.row}
        for group, arrays in part.arrays.items():
            filled = arrays_of.setdefault(group, {})
            for name, (dims, values) in arrays.items():
                named = list(zip(dims, values.shape, strict=True))
                if name not in filled:
                    shape = [sizes.get(dim, size) for dim, size in named]
                    filled[name] = Array(dims, np.empty(shape, values.dtype))
                starts = [(first.get(dim, 0), size) for dim, size in named]
                filled[name].values[tuple(slice(at, at + size) for at, size in starts)] = values
    return arrays_of
