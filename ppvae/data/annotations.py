"""Annotations of rows that programs do not see: row numbers, names, labels."""

from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Annotations:
    """Facts about N rows that the programs are not given.

    Args:
        numbers: (N,) int64, the position of each in the file or array it was read from, from 0.
        index: (N,) their names, or None.
        label: (N,) int64 codes of labels that are not y, -1 where unknown, or None.
    """

    numbers: Tensor
    index: NDArray[Any] | None = None
    label: Tensor | None = None

    @classmethod
    def of(cls, count: int) -> Self:
        """Return annotations of rows that have only numbers."""
        return cls(torch.arange(count))

    def select(self, rows: Tensor | slice) -> Self:
        """Return the annotations of the rows at ``rows``, in that order."""
        return replace(
            self,
            numbers=self.numbers[rows],
            index=None if self.index is None else self.index[_plain(rows)],
            label=None if self.label is None else self.label[rows],
        )

    def called(self, place: int) -> str:
        """The name of a row in sentences: its number in the file, and its name."""
        name = "" if self.index is None else f", named {self.index[place]!r}"
        return f"row {int(self.numbers[place])} (counted from 0{name})"


def _plain(rows: Tensor | slice) -> NDArray[Any] | slice:
    return rows if isinstance(rows, slice) else np.asarray(rows)
