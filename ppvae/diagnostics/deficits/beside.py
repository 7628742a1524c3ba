"""Enlarged networks that start as the same function as the fitted network.

A larger part that starts at the function of the old one spends a short budget of steps on its gain,
not on catching up (Chen, Goodfellow and Shlens, 2016: Net2Net).
"""

from math import prod
from typing import override

import torch
from torch import Tensor, nn

from ppvae.networks import MLP, Shape
from ppvae.networks.column_features import ColumnFeatures, size_of
from ppvae.networks.log_counts import LogCounts

HIDDEN = (400, 400)
"""Hidden widths of an added network."""


class Beside(nn.Module):
    """f(h) = old(h) + new(h), with ``new`` a multilayer perceptron whose last layer starts at zero.

    Args:
        old: the network as it was fitted.
        in_shape: shape of one input.
        out_shape: shape of its output.
        reads: number of leading inputs that ``old`` reads from a flat input; ``None``: all.
    """

    def __init__(
        self, old: nn.Module, in_shape: Shape, out_shape: Shape, reads: int | None = None
    ) -> None:
        super().__init__()
        self.old, self.new, self._reads = old, beginning(old, in_shape, out_shape), reads

    @override
    def forward(self, h: Tensor) -> Tensor:
        both: Tensor = self.old(h if self._reads is None else h[..., : self._reads]) + self.new(h)
        return both


class Appended(nn.Module):
    """f(h) = (old(h), new(h)): outputs added to those of ``old``, which start as constants.

    Args:
        old: the network as it was fitted.
        in_shape: shape of one input.
        out_shape: shape of the output of ``old``.
        grown: shape of the output of f: new numbers come last, or the output is flat.
        start: initial values of the new outputs; default 0.
        first: whether the new outputs come before the old ones.
    """

    def __init__(
        self,
        old: nn.Module,
        in_shape: Shape,
        out_shape: Shape,
        grown: Shape,
        start: Tensor | None = None,
        *,
        first: bool = False,
    ) -> None:
        super().__init__()
        alike = 0
        while len(grown) == len(out_shape) and alike + 1 < len(grown):
            if grown[alike] != out_shape[alike]:
                break
            alike += 1
        self._dims, self._shape, self._first = len(out_shape) - alike, tuple(grown[alike:]), first
        more = prod(self._shape) - prod(out_shape[alike:])
        self.old, self.new = old, beginning(old, in_shape, (*grown[:alike], more), start)

    @override
    def forward(self, h: Tensor) -> Tensor:
        out = self.old(h)
        lead = out.shape[: out.dim() - self._dims]
        both = [out.reshape(*lead, -1), self.new(h)]
        return torch.cat(both[::-1] if self._first else both, -1).reshape(*lead, *self._shape)


class First(nn.Module):
    """The first outputs of a network, as many as ``shape`` has."""

    def __init__(self, old: nn.Module, out_shape: Shape, shape: Shape) -> None:
        super().__init__()
        self.old, self._dims, self._shape = old, len(out_shape), tuple(shape)

    @override
    def forward(self, h: Tensor) -> Tensor:
        out = self.old(h)
        lead = out.shape[: out.dim() - self._dims]
        first: Tensor = out.reshape(*lead, -1)[..., : prod(self._shape)]
        return first.reshape(*lead, *self._shape)


def beginning(
    old: nn.Module, in_shape: Shape, out_shape: Shape, start: Tensor | None = None
) -> nn.Module:
    """A multilayer perceptron whose output is initially ``start``, or zeros, for any input.

    It is on the device of ``old``, and transforms counts and columns of a table in the same way.
    """
    more = 0
    if isinstance(old, ColumnFeatures):
        more = size_of(old.columns) - len(old.columns)
    new = MLP((*in_shape[:-1], in_shape[-1] + more), tuple(out_shape), HIDDEN)
    last = new.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.zeros_like(last.bias) if start is None else start.reshape(-1))
    like = next((t for t in (*old.parameters(), *old.buffers()) if t.is_floating_point()), None)
    if like is not None:
        new = new.to(like.device, like.dtype)
    if isinstance(old, ColumnFeatures):
        return ColumnFeatures(new, old.columns).to(last.weight)
    return LogCounts(new, old.size) if isinstance(old, LogCounts) else new
