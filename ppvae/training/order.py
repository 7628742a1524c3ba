"""Order of the training data: the rows of each step of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.data.labels import known_rows
from ppvae.data.pools import Blocks
from ppvae.errors import InputError
from ppvae.programs.streams import Stream, generator


@dataclass(frozen=True)
class Order:
    """Random batches of an epoch: a function of seed and epoch only.

    Each row is seen once per epoch. If labels are few, batches may include a number of labelled
    rows, which are repeated, all of them before any comes again. The rows of a step form one batch,
    or several in sequence (`Order.parts`).

    Attributes:
        once: rows that are seen once per epoch: ``(rows,)``.
        again: repeated labelled rows: ``(labelled rows,)``.
        size: rows per step.
        labelled: number of these from ``again``.
        processes: number of processes that share a step; a last step with fewer rows is left out.
        accumulate: batches per step.
        blocks: the blocks of rows, if they are shuffled in pools; see `ppvae.data.pools`.
    """

    once: Tensor
    again: Tensor
    size: int
    labelled: int = 0
    processes: int = 1
    accumulate: int = 1
    blocks: Blocks | None = None

    @classmethod
    def of(
        cls, train: Split, size: int, labelled: int | None, processes: int, accumulate: int = 1
    ) -> Self:
        """The order of a training split.

        Args:
            train: the split.
            size: rows per batch.
            labelled: labelled rows in each batch; ``None``: at random.
            processes: number of processes that share a batch.
            accumulate: batches per step.

        Raises:
            InputError: if no row or every row has a label, or a batch has no room for other rows.
        """
        size = min(size, len(train))
        step = min(size * accumulate, len(train))
        everything = torch.arange(len(train))
        if labelled is None:
            return cls(everything, everything[:0], step, 0, processes, accumulate, train.blocks)
        is_known = known_rows(train)
        again, once = everything[is_known], everything[~is_known]
        if not (len(again) and len(once)):
            raise InputError(
                f"`labelled={labelled}` mixes rows with and without labels, but "
                f"{'all' if len(again) else 'none'} of the training data have one; leave it out, "
                "or hide labels by `labels`"
            )
        if labelled >= size:
            raise InputError(
                f"`labelled={labelled}` leaves no room in a batch of {size} for rows without a "
                "label; take fewer, or a larger `batch_size`"
            )
        labelled = labelled * step // size
        return cls(once, again, step, labelled, processes, accumulate, train.blocks)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        full, left = divmod(len(self.once), self.size - self.labelled)
        return full + (left + self.labelled * (left > 0) >= max(self.processes, 1))

    @property
    def whole(self) -> int:
        """Steps of an epoch without an incomplete last one; at least one."""
        return max(len(self.once) // (self.size - self.labelled), 1)

    def batches(self, seed: int, epoch: int, device: torch.device) -> list[Tensor]:
        """The rows of each step of an epoch, on ``device``."""
        chance = generator(Stream.ORDER.seed(seed, epoch), device)
        once = self.once.to(device)
        shuffled = _shuffled if self.blocks is None else self.blocks.shuffled
        batches = list(shuffled(once, chance).split(self.size - self.labelled))[: self.steps]
        if not self.labelled:
            return batches
        known = self.again.to(device)
        rounds = -(-len(batches) * self.labelled // len(known))
        again = torch.cat([_shuffled(known, chance) for _ in range(rounds)])
        return [torch.cat(both) for both in zip(batches, again.split(self.labelled), strict=False)]

    def parts(self, rows: Sequence[int] | Tensor, rank: int) -> list[Any]:
        """The batches of a process in a step.

        Each takes every n-th row, so that all have equal sizes and shares of the labels.
        """
        mine = rows[rank :: self.processes]
        count = min(self.accumulate, len(mine))
        return [mine[i::count] for i in range(count)]


def _shuffled(rows: Tensor, chance: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=chance, device=rows.device)]
