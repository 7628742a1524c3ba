"""Shuffling of rows that are read in blocks."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Blocks:
    """The block of each row of a split.

    Args:
        of: (N,) the number of the block.
        together: number of blocks in a pool.
    """

    of: Tensor
    together: int

    def shuffled(self, rows: Tensor, chance: torch.Generator) -> Tensor:
        """Rows in a random order that reads each block once.

        Blocks are put into pools at random, anew in each call, and the rows of each pool are
        shuffled. With a single pool, all rows are shuffled together.
        """
        rows = rows[torch.randperm(len(rows), generator=chance, device=rows.device)]
        of = self.of.to(rows.device)
        count = int(of.max()) + 1
        if count <= self.together:
            return rows
        order = torch.randperm(count, generator=chance, device=rows.device)
        return rows[(order[of[rows]] // self.together).argsort(stable=True)]
