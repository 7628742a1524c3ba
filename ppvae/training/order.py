"""The order of the training data: which rows make which step of an epoch."""

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
    """Steps of an epoch, by chance: a function of seed and epoch alone.

    Each row passes once an epoch. Where labels are few, a batch may be asked to hold some rows that
    have one: those pass over and over, all of them before one comes again. The rows of a step are
    taken in one batch, or in several, one after another (`Order.parts`).

    Attributes:
        once: rows that pass once an epoch: ``(rows,)``.
        again: rows with a label, where batches are asked to hold some: ``(labelled rows,)``.
        size: rows of a step.
        labelled: how many of these are of ``again``.
        processes: how many share a step; a last one with fewer rows is left out.
        accumulate: batches of a step.
        blocks: the blocks that rows are read by, where these are shuffled in pools; see
            `ppvae.data.pools`.
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
            size: rows of a batch.
            labelled: rows with a label in each batch; ``None``: as they come.
            processes: how many share a batch.
            accumulate: batches of a step.

        Raises:
            InputError: if no row has a label, every row has one, or a batch has no place for
                others.
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
                f"`labelled={labelled}` mixes rows with a label and rows without, and "
                f"{'all' if len(again) else 'none'} of the training data have one; leave it out, "
                "or hide labels by `labels`"
            )
        if labelled >= size:
            raise InputError(
                f"`labelled={labelled}` leaves no place in a batch of {size} for rows without a "
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
        """Steps of an epoch without a ragged last one; at least one."""
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
        """The batches that a process takes one after another of the rows of a step.

        Each has every so many-th row: as large as the others, and with its share of the labels.
        """
        mine = rows[rank :: self.processes]
        count = min(self.accumulate, len(mine))
        return [mine[i::count] for i in range(count)]


def _shuffled(rows: Tensor, chance: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=chance, device=rows.device)]
