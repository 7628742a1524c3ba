"""An array on disk that is opened without being read; rows are read when needed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final, override

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.fingerprint import size_and_time
from ppvae.data.free_memory import free_memory
from ppvae.data.pools import Blocks
from ppvae.data.split import Batch
from ppvae.data.survey import Survey
from ppvae.data.tensors import as_tensor
from ppvae.errors import InputError

SMALL = 2**26
"""Bytes in memory up to which a file is read whole (64 MiB), and its parts are in random order.

Rows of a larger file stay in the order of the file, for fast passes. The rule depends on the data
only, so that a fit is the same on every machine.
"""

SHARE = 4
"""Larger data are held in memory if they need at most one in so many parts of the free memory."""

CHUNK = 2**24
"""Bytes per chunk of a pass over an array (16 MiB), as float32."""


def budget(memory: float | None) -> int:
    """Bytes of memory for the data.

    Args:
        memory: the user's choice, in GiB; ``None``: a quarter of the free memory.
    """
    return free_memory() // SHARE if memory is None else int(memory * 2**30)


def is_read_whole(size: int, memory: float | None) -> bool:
    """Whether data that need ``size`` bytes in memory are read when they are opened."""
    return size <= SMALL and (memory is None or size <= budget(memory))


class Stored(ABC):
    """An array on disk: ``(rows, *shape)``.

    Args:
        path: the file, which must not change.
        rows: number of rows.
        shape: that of one row.
        dtype: of the elements when read: bool, uint8, int64, float32 or float64.
        memory: see `budget`.
        has_mask: whether some entries are missing.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        memory: float | None,
        *,
        has_mask: bool = False,
    ) -> None:
        self.path, self.rows, self.shape, self.dtype = path, rows, shape, dtype
        self.has_mask = has_mask
        self.size = memory_of(rows, shape, is_bytes=dtype.itemsize == 1, has_mask=has_mask)
        self._budget = budget(memory)
        self.is_held, self.is_large = self.size <= self._budget, self.size > SMALL
        self.is_read_whole = is_read_whole(self.size, memory)
        self._as_opened = size_and_time([path])
        self.surveys: dict[str, Survey] = {}  # by a digest of the surveyed rows

    @abstractmethod
    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return x of these rows, in ascending order, and the mask if there is one."""

    def blocks_of(self, _rows: Tensor) -> Blocks | None:
        """The blocks in which rows are read; None: each row is read alone."""
        return None

    def take(self, rows: Tensor) -> Batch:
        """Return x of these rows, in their order, and the mask if there is one.

        Raises:
            InputError: if the file was written after it was opened.
        """
        self.check()
        numbers = rows.numpy()
        if bool((numbers[1:] >= numbers[:-1]).all()):
            return self.read(numbers)
        order = numbers.argsort(kind="stable")
        back = torch.from_numpy(order.argsort())
        return {name: values[back] for name, values in self.read(numbers[order]).items()}

    def check(self) -> None:
        """Refuse a file that changed since it was opened, as a map would show other rows."""
        try:
            now = size_and_time([self.path])
        except OSError as error:
            raise InputError(f"{self.path} is gone, and was being read: put it back.") from error
        if now != self._as_opened:
            raise InputError(
                f"{self.path} was written while it was read: it must not change, as rows are "
                "read when needed; start again."
            )

    @property
    def at_once(self) -> int:
        """Rows per chunk of a pass."""
        return max(1, CHUNK // (4 * max(1, math.prod(self.shape))))

    def spans(self) -> Iterator[Tensor]:
        """All rows in order, in the chunks of a pass."""
        return iter(torch.arange(self.rows).split(self.at_once))

    @property
    def note(self) -> str:
        """A note on where the rows are."""
        size, limit = (f"{each / 2**30:.3g}" for each in (self.size, self._budget))
        if self.is_held:
            return f"rows are held in memory, {size} GiB of at most {limit} (`data_memory`)"
        return f"rows stay on disk, as in memory they need {size} GiB of {limit} (`data_memory`)"


@final
class Mapped(Stored):
    """A .npy file mapped into memory: the system reads its pages, and caches what fits.

    Args:
        path: the file.
        array: its map.
        memory: see `budget`.
    """

    def __init__(self, path: Path, array: NDArray[Any], memory: float | None) -> None:
        some, axes = as_tensor(array[:1])
        super().__init__(path, len(array), tuple(some.shape[1:]), some.dtype, memory)
        self.notes: tuple[str, ...] = () if axes is None else (axes,)
        if array.ndim > 1 and not array.flags.c_contiguous:
            slow = "columns are contiguous (Fortran order), which makes reading rows slow"
            self.notes += (f"{slow}: save np.ascontiguousarray(x)",)
        self._array = np.asarray(array)

    @override
    def read(self, rows: NDArray[np.int64]) -> Batch:
        place = _place(rows)
        is_own = not isinstance(place, slice)
        return {"x": as_tensor(self._array[place], is_own=is_own)[0]}


def memory_of(rows: int, shape: Sequence[int], *, is_bytes: bool, has_mask: bool = False) -> int:
    """Bytes of rows in memory: bytes stay bytes, all else is float32."""
    return rows * math.prod(shape) * ((1 if is_bytes else 4) + has_mask)


def _place(rows: NDArray[np.int64]) -> Any:
    """Ascending rows as a slice if they are consecutive, which avoids a copy."""
    if len(rows) and bool((np.diff(rows) == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
