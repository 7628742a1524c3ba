"""Is the latent used, or on its way to be? Asked of held-out rows after each epoch of a fit.

So a collapsed posterior raises an alarm after some epochs, and not after a night.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ppvae.diagnostics.activity import LEAST, active_units, alarm, collapsed
from ppvae.diagnostics.posterior import embed_batch
from ppvae.programs import frozen
from ppvae.programs.streams import forked

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Trainer

__all__ = ["Watch", "Watched", "is_learned"]

GRACE = 0.1
"""Share of the epochs before which nothing is called a collapse: at first no latent is used yet."""

EARLY = 4
"""Epochs before which the course does not show whether a latent is being learned."""

RECENT = 5
"""Epochs over which the course is looked at."""

RISE = 1.02
"""Least rise of the KL over the lowest of those epochs, in a latent that is being learned."""

FLOOR = 0.01
"""Nats per datum below which the KL says nothing: a collapsed one goes up and down there."""

PATIENCE = 3
"""Epochs without a rise after which a latent is no longer being learned."""

ROWS = 2_000
"""Most held-out rows that are looked at: the variance of their means is known to some per cent."""


class Watched(NamedTuple):
    """What the look found.

    Attributes:
        active_units: latent dimensions in use; ``None`` where no latent belongs to a datum,
            or there are too few data to tell.
        alarm: a sentence if the posterior of a site has collapsed, else ``""``. There is none in
            the first tenth of the epochs, in the first four, and in the warm-up, nor while the
            course of the KL shows that the latent is being learned: see `is_learned`.
    """

    active_units: int | None
    alarm: str


class Watch:
    """Looks at where the guide puts the held-out data; it draws nothing that the fit would draw.

    Args:
        loop: the fit that is watched.
        rows: of ``metrics.csv`` as far as the fit has come, for the course until now.
    """

    def __init__(self, loop: "Trainer", rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self._loop = loop
        self._batch = loop.valid.take(torch.arange(min(ROWS, len(loop.valid))))
        self._course = [row["kl"] for row in rows if row["split"] == "valid"]

    def __call__(self, kl: float | None) -> Watched:
        """Look once, at the weights as they now are, and at their held-out KL."""
        bound, device = self._loop.bound, self._loop.device
        batch = {name: value.to(device) for name, value in self._batch.items()}
        self._course.append(kl)
        with frozen(bound), forked(device):
            found = embed_batch(bound.pair, bound.audit, batch)
        if not found.loc or len(batch["x"]) < LEAST:
            return Watched(None, "")
        active = sum(active_units(mean) for mean in found.loc.values())
        if self._is_early() or is_learned(self._course):
            return Watched(active, "")
        return Watched(active, alarm(collapsed(found.loc, found.scale)))

    def _is_early(self) -> bool:
        plan = self._loop.plan
        return self._loop.progress.epoch <= max(EARLY, GRACE * plan.epochs, plan.warm_up)


def is_learned(course: Sequence[float | None]) -> bool:
    """Whether the KL was on its way up in one of the last 3 epochs.

    It was in an epoch in which it is 2 % above its lowest in the 5 that end there, and not below
    0.01 nats. So the KL of a slow start, or of a small learning rate, shows that it is learned.

    Args:
        course: the KL of each epoch, in nats per datum; ``None`` where there is none.
    """
    ends = range(max(1, len(course) - PATIENCE + 1), len(course) + 1)
    return any(_is_rising(course[max(0, end - RECENT) : end]) for end in ends)


def _is_rising(recent: Sequence[float | None]) -> bool:
    known = [kl for kl in recent if kl is not None]
    return bool(known) and known[-1] >= max(FLOOR, RISE * min(known))
