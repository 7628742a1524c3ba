"""Raw rows before scaling: the result of every reader, from which splits are made."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.pools import Blocks
from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Extremes, Split

CHUNK = 2**16
"""Rows per chunk."""


class Rows(ABC):
    """Raw rows of one shape; each format has a subclass in its own file."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the elements of x: bool, uint8, int64, float32 or float64."""

    @property
    @abstractmethod
    def annotations(self) -> Annotations:
        """Annotations of the rows, which the programs are not given."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...] | None:
        """Names of the columns, if a row is a vector and the format has names."""

    @property
    @abstractmethod
    def extra_names(self) -> tuple[str, ...]:
        """Fields of a batch in addition to ``"x"``."""

    @property
    @abstractmethod
    def beside(self) -> Batch:
        """The fields of all rows except x and its mask: y, size factors."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def read(self, index: Tensor) -> Batch:
        """Return the rows at ``index``: ``x``, and the extra fields of a batch."""

    @abstractmethod
    def select(self, index: Tensor) -> "Rows":
        """Return the rows at ``index``, in that order."""

    def part(self, index: Tensor) -> "Rows":
        """Return the rows at ``index`` as one part of the data."""
        return self.select(index)

    @property
    def is_held(self) -> bool:
        """Whether rows on disk are read into memory for repeated passes."""
        return False

    @property
    def blocks(self) -> Blocks | None:
        """The blocks in which rows on disk are read; None: each row is read alone."""
        return None

    def extremes(self, _scaling: Scaling) -> Extremes | None:
        """The range of x after scaling, if a pass has found it."""
        return None

    @abstractmethod
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        """Return these rows as a model will see them."""

    def chunks(self, size: int = CHUNK) -> Iterator[Batch]:
        """Yield all rows in their order, ``size`` at a time; the last chunk may be smaller."""
        for index in torch.split(torch.arange(len(self)), size):
            yield self.read(index)

    def observed(self) -> Iterator[Tensor]:
        """Yield the values of x that were observed, chunk by chunk."""
        for chunk in self.chunks():
            yield chunk["x"][chunk["mask"]] if "mask" in chunk else chunk["x"]

    def digest(self, *, beside: bool = True) -> str:
        """Return the SHA-256 of all values, their types and shapes.

        Args:
            beside: include labels, covariates and size factors.
        """
        total = hashlib.sha256()
        for chunk in self.chunks():
            for name, values in chunk.items():
                if not beside and name not in ("x", "mask"):
                    continue
                total.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
                total.update(memoryview(values.contiguous().numpy()).cast("B"))
        return total.hexdigest()


@final
@dataclass(frozen=True, eq=False)
class ArrayRows(Rows):
    """Rows in memory.

    Args:
        x: (N, *shape), bool, uint8, int64, float32 or float64.
        y: (N,) int64 codes, (N, ...) float32 covariates, or None.
        mask: bool, the shape of ``x``, True where observed, or None if all was.
        names: as above.
        size_factor: (N,) float32, above 0, the factor of the mean of counts, or None.
        known: annotations of the rows; by default their numbers.
    """

    x: Tensor
    y: Tensor | None = None
    mask: Tensor | None = None
    names: tuple[str, ...] | None = None
    size_factor: Tensor | None = None
    known: Annotations | None = None

    @property
    @override
    def annotations(self) -> Annotations:
        return self.known or Annotations.of(len(self))

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    @override
    def dtype(self) -> torch.dtype:
        return self.x.dtype

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._fields if name != "x")

    @property
    @override
    def beside(self) -> Batch:
        return {n: values for n, values in self._fields.items() if n not in ("x", "mask")}

    @override
    def __len__(self) -> int:
        return len(self.x)

    @override
    def read(self, index: Tensor) -> Batch:
        return self._part(index)

    @override
    def chunks(self, size: int = CHUNK) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield self._part(slice(start, start + size))  # a view, where an index would copy

    @override
    def select(self, index: Tensor) -> "ArrayRows":
        known = self.annotations.select(index)
        return ArrayRows(**self._part(index), names=self.names, known=known)

    @override
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        extras = {name: values for name, values in self._fields.items() if name != "x"}
        return InMemorySplit.of(self.x, extras, scaling, binarization, self.annotations)

    def _part(self, rows: Tensor | slice) -> Batch:
        return {name: values[rows] for name, values in self._fields.items()}

    @property
    def _fields(self) -> Batch:
        fields = {"x": self.x, "y": self.y, "mask": self.mask, "size_factor": self.size_factor}
        return {name: values for name, values in fields.items() if values is not None}
