"""Shuffling of rows that are read by blocks."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Blocks:
    """In which block each row of a split lies.

    Args:
        of: (N,) the number of the block.
        together: how many blocks make a pool.
    """

    of: Tensor
    together: int

    def shuffled(self, rows: Tensor, chance: torch.Generator) -> Tensor:
        """Rows in a random order that passes each block once.

        Blocks are put into pools at random, anew in each call, and the rows of a pool follow each
        other, in a random order. Of one pool it is a random order of all.
        """
        rows = rows[torch.randperm(len(rows), generator=chance, device=rows.device)]
        of = self.of.to(rows.device)
        count = int(of.max()) + 1
        if count <= self.together:
            return rows
        order = torch.randperm(count, generator=chance, device=rows.device)
        return rows[(order[of[rows]] // self.together).argsort(stable=True)]
