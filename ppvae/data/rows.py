"""Raw rows, before scaling: what readers return and what a split is made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final, override

from torch import Tensor

from ppvae.data.binarization import Binarization
from ppvae.data.resident import ResidentSplit
from ppvae.data.scaling import Scaling
from ppvae.data.split import Split


class Rows(ABC):
    """Raw rows of one shape."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def select(self, index: Tensor) -> "Rows":
        """Return the rows at ``index``, in that order."""

    @abstractmethod
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        """Return these rows as a model is to see them."""


@final
@dataclass(frozen=True, eq=False)
class ArrayRows(Rows):
    """Rows in memory.

    Args:
        x: (N, *shape), bool, uint8, int64, float32 or float64.
        y: (N,) int64 codes, (N, ...) float32 covariates, or None.
        mask: bool, the shape of ``x``, True where observed, or None where all was.

    """

    x: Tensor
    y: Tensor | None = None
    mask: Tensor | None = None

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @override
    def __len__(self) -> int:
        return len(self.x)

    def observed(self) -> Tensor:
        """Return the values of x that were observed, whatever their shape."""
        return self.x if self.mask is None else self.x[self.mask]

    @override
    def select(self, index: Tensor) -> "ArrayRows":
        return ArrayRows(
            self.x[index],
            None if self.y is None else self.y[index],
            None if self.mask is None else self.mask[index],
        )

    @override
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        return ResidentSplit.of(self.x, self.y, self.mask, scaling, binarization)
