"""Counts in logarithms, as inputs of networks."""

from math import prod
from typing import override

import torch
from torch import Tensor, nn

from ppvae.networks.network import Network, Shape


class LogCounts(nn.Module):
    """A network that reads log(1 + x) in place of counts x.

    Counts cover orders of magnitude, and weights suit inputs of order one; scVI's encoder reads the
    same (Lopez et al., 2018). Where rows have size factors, guides give counts per unit of them.
    This concerns only the input of q(z | x): log p(x) is that of the counts. Below 0, where no
    count but perhaps a learned pseudo-input lies, x is read unchanged.

    Args:
        network: the network.
        size: how many elements of a flat input are counts; the others, of y, are read unchanged.
            ``None``: all.

    Shapes: those of the network.
    """

    def __init__(self, network: nn.Module, size: int | None = None) -> None:
        super().__init__()
        self.network, self.size = network, size

    @classmethod
    def before(cls, network: Network | nn.Module, data_shape: Shape) -> Network:
        """Put logarithms before a network of data, with or without numbers of y appended."""

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
    """log(1 + x), and x itself below 0."""
    # A clamp would have slope 0 at 0, where most counts lie, and pseudo-inputs start.
    is_count = x >= 0
    return torch.where(is_count, torch.where(is_count, x, 0.0).log1p(), x)
