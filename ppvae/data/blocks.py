"""Arrays on disk that are read in blocks, and shuffled in pools of blocks."""

import threading
from abc import abstractmethod
from collections import OrderedDict
from typing import override

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.pools import Blocks
from ppvae.data.split import Batch
from ppvae.data.stored import Stored

POOL = 2**28
"""Bytes of rows that are shuffled together (256 MiB) when read; two pools are kept."""


class Blocked(Stored):
    """An array whose blocks are read whole; those of the last two pools are kept.

    Subclasses call `begin` once they know the array.
    """

    def begin(self, starts: Tensor) -> None:
        """Set the rows at which blocks begin, from 0."""
        self.starts = starts
        size = self.rows * self.shape[0] * (self.dtype.itemsize + self.has_mask)
        self.together = max(1, POOL * len(starts) // max(1, size))
        self._kept: OrderedDict[int, Batch] = OrderedDict()
        self._lock = threading.Lock()

    @abstractmethod
    def block(self, number: int, first: int, last: int) -> Batch:
        """Read a block, of the rows from ``first`` to before ``last``."""

    @override
    def blocks_of(self, rows: Tensor) -> Blocks:
        of = torch.searchsorted(self.starts, rows, right=True) - 1
        return Blocks(of, self.together)

    @override
    def read(self, rows: NDArray[np.int64]) -> Batch:
        numbers = torch.from_numpy(rows)
        of = self.blocks_of(numbers).of
        pieces = []
        for number in of.unique().tolist():
            places = numbers[of == number] - self.starts[number]
            pieces.append({name: values[places] for name, values in self._block(number).items()})
        if not pieces:
            pieces = [{name: values[:0] for name, values in self._block(0).items()}]
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}

    def _block(self, number: int) -> Batch:
        with self._lock:
            if number not in self._kept:
                while len(self._kept) >= 2 * self.together:
                    self._kept.popitem(last=False)
                ends = [*self.starts.tolist()[number : number + 2], self.rows][:2]
                self._kept[number] = self.block(number, *ends)
            self._kept.move_to_end(number)
            return self._kept[number]
