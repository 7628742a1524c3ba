"""Rows that are image files: in memory if they fit, else decoded batch by batch."""

import hashlib
import math
from dataclasses import dataclass
from typing import final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.images import Images
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Split
from ppvae.data.streamed import StreamedSplit

# Image sets of more decoded bytes than this (1 GiB) are streamed. Data from one array are in memory
# already, and stay there.
RESIDENT_BYTES = 2**30


@final
@dataclass(frozen=True, eq=False)
class ImageRows(Rows):
    """Rows ``index`` of ``images``."""

    images: Images
    index: Tensor

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    @override
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    @override
    def annotations(self) -> Annotations:
        return Annotations(self.index)

    @property
    @override
    def names(self) -> None:
        return None

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        return tuple(self.beside)

    @property
    @override
    def beside(self) -> Batch:
        codes = self.images.codes
        return {} if codes is None else {"y": torch.tensor(codes)[self.index]}

    @override
    def __len__(self) -> int:
        return len(self.index)

    @override
    def read(self, index: Tensor) -> Batch:
        return self.images.batch(self.index[index])

    @override
    def digest(self, *, beside: bool = True) -> str:
        # Not of the pixels, which would have to be decoded; folders have a digest of their files.
        return hashlib.sha256(f"{len(self)} {self.shape} {self.images.codes}".encode()).hexdigest()

    @override
    def select(self, index: Tensor) -> "ImageRows":
        return ImageRows(self.images, self.index[index])

    @override
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        return StreamedSplit(self, scaling, binarization)


def image_rows(images: Images, memory: float | None = None) -> Rows:
    """Return all ``images`` as rows, decoded now if they need little memory.

    Args:
        images: the images.
        memory: the limit, in GiB; by default ``RESIDENT_BYTES``.
    """
    index = torch.arange(len(images))
    most = RESIDENT_BYTES if memory is None else int(memory * 2**30)
    if len(images) * math.prod(images.shape) > most:
        return ImageRows(images, index)
    batch = images.batch(index)
    return ArrayRows(batch["x"], batch.get("y"))
