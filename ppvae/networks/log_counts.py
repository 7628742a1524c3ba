"""Counts on the scale of their logarithm, before a network reads them."""

from math import prod
from typing import override

import torch
from torch import Tensor, nn

from ppvae.networks.network import Network, Shape


class LogCounts(nn.Module):
    """A network that reads log(1 + x) in place of counts x.

    Counts run over orders of magnitude, and weights are made for inputs of order one; scVI's
    encoder reads the same (Lopez et al., 2018). Where rows have size factors, guides give counts
    per unit of them. It is a matter of what q(z | x) reads, and changes
    no measure: log p(x) is of the counts. Below 0, where no count is but a learned pseudo-input may
    go, x is read as it is.

    Args:
        network: the network.
        size: how many numbers of a flat input are counts; the others, of y, are read as they are.
            ``None``: all.

    Shapes: those of the network.
    """

    def __init__(self, network: nn.Module, size: int | None = None) -> None:
        super().__init__()
        self.network, self.size = network, size

    @classmethod
    def before(cls, network: Network | nn.Module, data_shape: Shape) -> Network:
        """Put logarithms before a network of data, with or without numbers of y beside them."""

        def made(in_shape: Shape, out_shape: Shape) -> nn.Module:
            inner = network if isinstance(network, nn.Module) else network(in_shape, out_shape)
            is_joined = tuple(in_shape) != tuple(data_shape)
            return cls(inner, prod(data_shape) if is_joined else None)

        return made

    @override
    def forward(self, x: Tensor) -> Tensor:
        if self.size is None:
            out: Tensor = self.network(log_counts(x))
        else:
            counts, more = x[..., : self.size], x[..., self.size :]
            out = self.network(torch.cat([log_counts(counts), more], -1))
        return out


def log_counts(x: Tensor) -> Tensor:
    """log(1 + x), and x as it is below 0."""
    # Not by clamp, whose slope at 0 is 0: most counts are 0, and pseudo-inputs start at them.
    is_count = x >= 0
    return torch.where(is_count, torch.where(is_count, x, 0.0).log1p(), x)
