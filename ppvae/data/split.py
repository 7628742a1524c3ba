"""One part of the data (train, valid or test), read in batches of rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.pools import Blocks
from ppvae.data.scaling import Scaling

Batch = dict[str, Tensor]

Feed = Tensor | Batch
"""The rows of a batch, if the data are on the device already; else the batch itself."""


class Extremes(NamedTuple):
    """The range of all numbers."""

    lowest: float
    highest: float
    is_whole: bool


class Split(ABC):
    """Rows of data, scaled and binarized as they are read.

    A batch is a dictionary: ``x``, float32 ``(batch, *shape)``, and, if the data have them,
    ``y``, int64 codes (batch,) or float32 covariates; ``mask``, bool ``(batch, *shape)``, True
    where x was observed; ``size_factor``, float32 (batch,), the factor of the mean of counts.
    Unobserved entries of x are 0.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one datum: (channels, height, width) or (columns,)."""

    @property
    @abstractmethod
    def extra_names(self) -> tuple[str, ...]:
        """Which of ``"y"``, ``"mask"`` and ``"size_factor"`` a batch has."""

    @property
    @abstractmethod
    def annotations(self) -> Annotations:
        """Annotations of the rows, in order, which the programs are not given."""

    @property
    @abstractmethod
    def read_as(self) -> Scaling | None:
        """The scaling of raw values to x, or None for rows given as they are."""

    @property
    @abstractmethod
    def beside(self) -> Batch:
        """The fields of all rows except x and its mask: y, size factors."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "Split":
        """Return this split with its data in memory moved to ``device``."""

    @abstractmethod
    def feed(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Feed]:
        """Yield what is moved to ``device`` for each batch, from which `batch` makes it there."""

    @abstractmethod
    def batch(self, feed: Feed) -> Batch:
        """Make a batch by tensor operations only, so that it can be part of a graph."""

    @abstractmethod
    def batches(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """Yield one batch on ``device`` per index tensor of ``order``, in that order.

        Torch's global generator, that of ``device``, is used only by a split that is binarized anew
        in each batch, and only for that.
        """

    @abstractmethod
    def take(self, indices: Tensor) -> Batch:
        """Return those rows, on the device of this split, the same at each call.

        It draws nothing from torch's global generator, so that it does not change a run.
        """

    @abstractmethod
    def frozen(self, seed: int) -> "Split":
        """Return this split with binarization noise drawn once, by ``seed``.

        A split without fresh noise returns itself.
        """

    @abstractmethod
    def with_y(self, y: Tensor) -> "Split":
        """Return this split with other labels: (N,)."""

    @property
    def blocks(self) -> Blocks | None:
        """The blocks in which rows on disk are read; a shuffle keeps them together."""
        return None

    @property
    def extremes(self) -> Extremes | None:
        """The range of x, if a pass has found it; else None."""
        return None

    def chunks(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Yield all rows in their order, ``size`` at a time; the last batch may be smaller."""
        return self.batches(torch.split(torch.arange(len(self)), size), device=device)
