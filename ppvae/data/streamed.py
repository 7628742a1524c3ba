"""A split that stays on disk, and is read batch by batch."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self, cast, final, override

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.in_memory import InMemorySplit, scaled_once
from ppvae.data.pools import Blocks
from ppvae.data.progress import passing
from ppvae.data.rows import Rows
from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Extremes, Feed, Split

# Batches read ahead, each by a thread. Threads, not DataLoader's processes: readers release
# Python's lock, while processes would take seconds of imports or fork under torch's threads,
# would draw a seed from the global generator, and would turn a clear error into a traceback.
AHEAD = min(4, os.cpu_count() or 1)

READ_TOGETHER = 2**10
"""Rows per read on the way into memory."""


@final
@dataclass(frozen=True, eq=False)
class StreamedSplit(Split):
    """Rows on disk, prepared batch by batch for a model, and never all in memory.

    Args:
        rows: the raw rows.
        scaling: applied first.
        binarization: applied after it.
        shown: replaces y of the rows, if some of it is hidden.
    """

    rows: Rows
    scaling: Scaling
    binarization: Binarization
    shown: Tensor | None = None

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        return self.rows.extra_names

    @property
    @override
    def annotations(self) -> Annotations:
        return self.rows.annotations

    @property
    @override
    def read_as(self) -> Scaling:
        return self.scaling

    @property
    @override
    def beside(self) -> Batch:
        beside = self.rows.beside
        return beside if self.shown is None else beside | {"y": self.shown}

    @property
    @override
    def blocks(self) -> Blocks | None:
        return self.rows.blocks

    @property
    @override
    def extremes(self) -> Extremes | None:
        if self.binarization.how != "none":
            return Extremes(0, 1, is_whole=True)
        return self.rows.extremes(self.scaling)

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @override
    def to(self, device: torch.device | str) -> Split:
        """Return these rows in the memory of ``device``, if they should be held there."""
        if not self.rows.is_held:
            return self
        held: Batch = {}
        still = self.scaling
        with passing("reading rows", len(self)) as count:
            for index in torch.arange(len(self)).split(READ_TOGETHER):
                some, still = self._read(index)
                for name, values in some.items():
                    if name not in held:
                        shape = (len(self), *values.shape[1:])
                        held[name] = torch.empty(shape, dtype=values.dtype, device=device)
                    held[name][index[0] : index[0] + len(index)] = values.to(device)
                count(len(index))
        x = held.pop("x")
        return InMemorySplit(
            x, held, still, self.binarization, self.scaling, self.annotations
        ).settled()

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
        waiting: deque[tuple[Tensor, Future[tuple[Batch, Scaling]]]] = deque()
        with ThreadPoolExecutor(AHEAD, initializer=compute_alone) as pool:
            for rows in order:
                waiting.append((rows, pool.submit(self._read, rows.cpu())))
                if len(waiting) > AHEAD:
                    yield self._finish(*_first(waiting), device, self.binarization)
            while waiting:
                yield self._finish(*_first(waiting), device, self.binarization)

    @override
    def take(self, indices: Tensor) -> Batch:
        return self._finish(indices, self._read(indices.cpu()), "cpu", self.binarization.frozen(0))

    @override
    def frozen(self, seed: int) -> Self:
        if self.binarization.is_fixed:
            return self
        return replace(self, binarization=self.binarization.frozen(seed))

    @override
    def with_y(self, y: Tensor) -> Self:
        return replace(self, shown=y)

    def _read(self, rows: Tensor) -> tuple[Batch, Scaling]:
        """Raw rows, scaled as far as useful before the device, and the remaining scaling."""
        batch = self.rows.read(rows)
        x, still = scaled_once(batch["x"], self.scaling, batch.get("mask"))
        shown = {} if self.shown is None else {"y": self.shown[rows]}
        return batch | {"x": x} | shown, still

    def _finish(
        self,
        rows: Tensor,
        read: tuple[Batch, Scaling],
        device: torch.device | str,
        binarization: Binarization,
    ) -> Batch:
        """Move and binarize in the caller's thread, whose random state determines the noise."""
        raw, still = read
        batch = {name: value.to(device) for name, value in raw.items()}
        return batch | {"x": binarization(still.apply(batch["x"]), rows)}


def compute_alone() -> None:
    """Have this thread compute without others, which would spin between its small operations."""
    torch.get_num_threads()  # torch takes its own number at a thread's first call, and only then
    threadpool_limits(1, user_api="openmp")


def _first[T](waiting: deque[tuple[Tensor, Future[T]]]) -> tuple[Tensor, T]:
    rows, future = waiting.popleft()
    return rows, future.result()
