"""Rows that are image files: in memory where they fit, decoded batch by batch where not."""

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self, cast, final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.images import Images
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Feed, Split

# Image sets of more decoded bytes than this (1 GiB) are streamed. Data that comes as one array is
# in memory already, and stays there.
RESIDENT_BYTES = 2**30

# Batches read ahead, each by a thread. Threads, not DataLoader's processes: decoders let go of
# Python's lock, while processes would take seconds of imports or fork under torch's threads,
# would draw a seed from the global generator, and would turn a clear error into a traceback.
AHEAD = min(4, os.cpu_count() or 1)


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

    @override
    def __len__(self) -> int:
        return len(self.index)

    @override
    def read(self, index: Tensor) -> Batch:
        return self.images.batch(self.index[index])

    @override
    def digest(self, *, beside: bool = True) -> str:
        # Not of the pixels, which would all have to be decoded; folders have a digest of files.
        return hashlib.sha256(f"{len(self)} {self.shape} {self.images.codes}".encode()).hexdigest()

    @override
    def select(self, index: Tensor) -> "ImageRows":
        return ImageRows(self.images, self.index[index])

    @override
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        return StreamedSplit(self, scaling, binarization)


@final
@dataclass(frozen=True, eq=False)
class StreamedSplit(Split):
    """Rows of image files as a model is to see them, never all in memory."""

    rows: ImageRows
    scaling: Scaling
    binarization: Binarization

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        return () if self.rows.images.codes is None else ("y",)

    @property
    @override
    def annotations(self) -> Annotations:
        return self.rows.annotations

    @property
    @override
    def read_as(self) -> Scaling:
        return self.scaling

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @override
    def to(self, device: torch.device | str) -> Self:
        """Return this split as it is: it holds nothing that could be moved."""
        return self

    @override
    def feed(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Feed]:
        return self.batches(order, device=device)

    @override
    def batch(self, feed: Feed) -> Batch:
        return cast("Batch", feed)

    @override
    def batches(
        self, order: Sequence[Tensor], *, device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        waiting: deque[tuple[Tensor, Future[Batch]]] = deque()
        with ThreadPoolExecutor(AHEAD) as pool:
            for rows in order:
                waiting.append((rows, pool.submit(self.rows.read, rows.cpu())))
                if len(waiting) > AHEAD:
                    yield self._finish(*_first(waiting), device, self.binarization)
            while waiting:
                yield self._finish(*_first(waiting), device, self.binarization)

    @override
    def take(self, indices: Tensor) -> Batch:
        return self._finish(
            indices, self.rows.read(indices.cpu()), "cpu", self.binarization.frozen(0)
        )

    @override
    def frozen(self, seed: int) -> Self:
        return replace(self, binarization=self.binarization.frozen(seed))

    def _finish(
        self, rows: Tensor, raw: Batch, device: torch.device | str, binarization: Binarization
    ) -> Batch:
        """Scale and draw in the caller's thread, whose random state decides the noise."""
        batch = {name: value.to(device) for name, value in raw.items()}
        return batch | {"x": binarization(self.scaling.apply(batch["x"]), rows)}


def _first(waiting: deque[tuple[Tensor, Future[Batch]]]) -> tuple[Tensor, Batch]:
    rows, future = waiting.popleft()
    return rows, future.result()


def image_rows(images: Images) -> Rows:
    """Return all of ``images`` as rows, decoded now if they take at most ``RESIDENT_BYTES``."""
    index = torch.arange(len(images))
    if len(images) * math.prod(images.shape) > RESIDENT_BYTES:
        return ImageRows(images, index)
    batch = images.batch(index)
    return ArrayRows(batch["x"], batch.get("y"))
