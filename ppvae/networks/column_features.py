"""Columns of a table as numbers of order one, before a network reads them."""

from collections.abc import Sequence
from math import prod
from typing import override

import torch
from torch import Tensor, nn

from ppvae.networks.columns import Column
from ppvae.networks.log_counts import log_counts
from ppvae.networks.network import Network, Shape


class ColumnFeatures(nn.Module):
    """A network that reads each column of a table by its kind.

    Real numbers are read unchanged, counts as log(1 + x), and a category as its one-hot vector:
    level k of K as max(0, 1 - |x - k|), which interpolates between levels (only learned
    pseudo-inputs lie there), and is 0 far from all levels, as for a missing entry.

    Args:
        network: the network, with `size_of` inputs.
        columns: the columns, which come first in the input; numbers of y after them are read
            unchanged.

    Shapes: ``(..., D)``, or ``(..., D + size of y)``, to the output of the network.
    """

    kept: Tensor
    counted: Tensor
    categories: Tensor
    levels: Tensor
    blank: Tensor

    def __init__(self, network: nn.Module, columns: Sequence[Column]) -> None:
        super().__init__()
        self.network, self.columns = network, tuple(columns)
        places = {kind: [i for i, c in enumerate(columns) if c.kind == kind] for kind in _KINDS}
        each = [(i, k) for i in places["category"] for k in range(len(columns[i].levels))]
        constants = {
            "kept": torch.tensor(places["real"], dtype=torch.int64),
            "counted": torch.tensor(places["count"], dtype=torch.int64),
            "categories": torch.tensor([i for i, _ in each], dtype=torch.int64),
            "levels": torch.tensor([float(k) for _, k in each]),
            "blank": torch.tensor([-1.0 if c.kind == "category" else 0.0 for c in columns]),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def before(cls, network: Network | nn.Module, columns: Sequence[Column]) -> Network:
        """Put the features before a network of data, with or without numbers of y appended."""

        def made(in_shape: Shape, out_shape: Shape) -> nn.Module:
            more = prod(in_shape) - len(columns)
            read = (size_of(columns) + more,)
            return cls(
                network if isinstance(network, nn.Module) else network(read, out_shape), columns
            )

        return made

    @override
    def forward(self, x: Tensor) -> Tensor:
        levels = (1 - (x.index_select(-1, self.categories) - self.levels).abs()).clamp(min=0)
        counts = log_counts(x.index_select(-1, self.counted))
        rest = x[..., len(self.columns) :]
        read = [x.index_select(-1, self.kept), counts, levels, rest]
        out: Tensor = self.network(torch.cat(read, -1))
        return out


_KINDS = ("real", "count", "category")


def size_of(columns: Sequence[Column]) -> int:
    """The number of inputs for the columns: one each, and for a category one per level."""
    return sum(max(1, len(column.levels)) for column in columns)


def blanked(network: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Data with missing categories set to no level, for a network that reads columns.

    They are then read as 0. For other networks x is unchanged, 0 where entries are missing.

    Args:
        network: reads the data: `ColumnFeatures`, or a network that begins with it.
        x: the data, ``(batch, D)``.
        mask: True where x was observed, like x; ``None``: everywhere.
    """
    if mask is None:
        return x
    features = next((m for m in network.modules() if isinstance(m, ColumnFeatures)), None)
    return x if features is None else torch.where(mask, x, features.blank)
