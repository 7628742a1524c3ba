"""Is the latent still used? Asked of a few held-out rows after each epoch of a fit.

So a collapsed posterior raises an alarm after an epoch, and not after a night.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch

from ppvae.diagnostics.activity import LEAST, active_units, alarm, collapsed
from ppvae.diagnostics.posterior import embed_batch
from ppvae.programs import frozen
from ppvae.randomness import forked

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.svi import SVI

__all__ = ["Watch", "Watched"]

GRACE = 0.1
"""Share of the epochs before which nothing is called a collapse: at first no latent is used yet."""

ROWS = 2_000
"""Most held-out rows that are looked at: the variance of their means is known to some per cent."""


class Watched(NamedTuple):
    """What the look found.

    Attributes:
        active_units: latent dimensions in use; ``None`` where no latent belongs to a datum,
            or there are too few data to tell.
        alarm: a sentence if the posterior of a site has collapsed, else ``""``; none in the first
            tenth of the epochs, nor in the first two.
    """

    active_units: int | None
    alarm: str


class Watch:
    """Looks at where the guide puts the held-out data; it draws nothing that the fit would draw.

    Args:
        loop: the fit that is watched.
    """

    def __init__(self, loop: "SVI") -> None:
        self._loop = loop
        self._batch = loop.valid.take(torch.arange(min(ROWS, len(loop.valid))))

    def __call__(self) -> Watched:
        """Look once, at the weights as they now are."""
        bound, device = self._loop.bound, self._loop.device
        batch = {name: value.to(device) for name, value in self._batch.items()}
        with frozen(bound), forked(device):
            found = embed_batch(bound.pair, bound.audit, batch)
        if not found.loc or len(batch["x"]) < LEAST:
            return Watched(None, "")
        active = sum(active_units(mean) for mean in found.loc.values())
        is_early = self._loop.progress.epoch <= max(2, GRACE * self._loop.plan.epochs)
        return Watched(active, "" if is_early else alarm(collapsed(found.loc, found.scale)))
