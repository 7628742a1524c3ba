"""Wider families of finitely many levels, started at or near the fitted likelihood.

`Turned` maps the outputs of a decoder to the parameters of a wider family: the logits of a
categorical give the masses of the binomial; several logistics lie around the one.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import override

import torch
from torch import Tensor, nn

from ppvae.diagnostics.deficits.beside import Beside
from ppvae.diagnostics.deficits.candidates import Candidate, put_in
from ppvae.diagnostics.deficits.slot import Slot
from ppvae.models.likelihoods import (
    Binomial,
    Categorical,
    DiscretizedLogistic,
    Likelihood,
    MixtureOfDiscretizedLogistics,
)

COMPONENTS = 3
"""Components of a mixture of logistics: enough for two modes and a tail, and cheap."""


class Turned(nn.Module):
    """Outputs of a network mapped to the parameters of another likelihood."""

    def __init__(self, network: nn.Module, turn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self._turn = network, turn

    @override
    def forward(self, h: Tensor) -> Tensor:
        return self._turn(self.network(h))


def of_levels(slot: Slot, old: Likelihood) -> Iterator[Candidate]:
    """A `Categorical` for a `Binomial`, several logistics for one."""
    shape = old.data_shape
    if isinstance(old, Binomial):
        classes = old.total_count + 1
        remedy = f"`likelihood='Categorical', likelihood.classes={classes}`"
        turn = partial(as_logits, dims=len(shape), total=old.total_count)
        yield _turned(slot, Categorical(shape, classes), remedy, turn)
    elif isinstance(old, DiscretizedLogistic):
        mixture = MixtureOfDiscretizedLogistics(shape, COMPONENTS, old.levels)
        remedy = f"`likelihood='MixtureOfDiscretizedLogistics', likelihood.components={COMPONENTS}`"
        yield _turned(slot, mixture, remedy, partial(as_components, dims=len(shape)))


def as_logits(h: Tensor, dims: int, total: int) -> Tensor:
    """Logits of the classes 0 .. ``total`` with the masses of a binomial of the given logit.

    Shapes: ``(..., 1, *shape)`` to ``(..., total + 1, *shape)``, with ``dims`` axes of a datum.
    """
    k = torch.arange(total + 1, dtype=torch.double)
    ways = torch.lgamma(k.new_tensor(total + 1.0)) - (k + 1).lgamma() - (total - k + 1).lgamma()
    axes = (-1, *[1] * dims)
    return ways.reshape(axes).to(h) + k.reshape(axes).to(h) * h


def as_components(h: Tensor, dims: int) -> Tensor:
    """Parameters of a mixture at the loc of one logistic, with scales below, at and above its own.

    Shapes: ``(..., 2, *shape)`` to ``(..., 3 COMPONENTS, *shape)``.
    """
    axis = -dims - 1
    loc, scale = (part.unsqueeze(axis) for part in h.unbind(axis))
    wide = [-1] * h.dim()
    wide[axis] = COMPONENTS
    apart = torch.linspace(-1, 1, COMPONENTS).to(h).reshape(-1, *[1] * dims)
    return torch.cat([torch.zeros_like(loc).expand(wide), loc.expand(wide), scale + apart], axis)


def _turned(
    slot: Slot, new: Likelihood, remedy: str, turn: Callable[[Tensor], Tensor]
) -> Candidate:
    place, in_shape, _ = slot.decoder
    new = new.to(slot.fitted.pair.device, slot.fitted.pair.dtype)
    both = Beside(Turned(place.module, turn), in_shape, new.decoder_shape)
    fresh = (*new.parameters(), *both.new.parameters())
    put = partial(put_in, slot.fitted, (slot.place, new), (place, both), fresh=fresh)
    return Candidate(type(new).__name__, remedy, put)
