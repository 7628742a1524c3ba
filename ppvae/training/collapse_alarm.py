"""The alarm of a collapsed posterior, raised while a fit still runs.

At each evaluation it looks at held-out rows: is the latent used, or is it being learned?
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ppvae.diagnostics.bound.activity import LEAST, active_units, alarm, collapsed
from ppvae.diagnostics.bound.embedding import embed_batch
from ppvae.programs import evaluating
from ppvae.programs.streams import Stream, forked

if TYPE_CHECKING:  # the loop takes seconds to import
    from ppvae.training.trainer import Trainer

GRACE = 0.1
"""Share of the epochs before which there is no alarm: at first no latent is used yet."""

EARLY = 4
"""Epochs before which the KL does not show whether a latent is being learned."""

RECENT = 5
"""Evaluations over which the KL is compared."""

RISE = 1.02
"""Least rise of the KL over the lowest of those, in a latent that is being learned."""

FLOOR = 0.01
"""Nats per datum below which the KL says nothing: a collapsed one goes up and down there."""

PATIENCE = 3
"""Evaluations without a rise after which a latent is no longer being learned."""

ROWS = 2_000
"""Most held-out rows that are encoded: enough for the variance of their means to some per cent."""


class LatentUse(NamedTuple):
    """Use of the latents at an evaluation.

    Attributes:
        active_units: latent dimensions in use; ``None`` where no latent belongs to a datum,
            or there are too few data to tell.
        alarm: a sentence if the posterior of a site has collapsed, else ``""``. There is none in
            the first tenth of the epochs, in the first four, and in the warm-up, nor while the
            course of the KL shows that the latent is being learned: see `is_learned`.
    """

    active_units: int | None
    alarm: str


class CollapseAlarm:
    """Counts active units on held-out rows, and warns of a collapse; the fit's noise is untouched.

    Args:
        loop: the fit.
        rows: the rows of ``metrics.csv`` so far: the KL of earlier evaluations is read from them.
    """

    def __init__(self, loop: "Trainer", rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self._loop = loop
        chosen = Stream.EVALUATED_ROWS.rows(len(loop.valid), ROWS, loop.plan.seed)
        self._batch = loop.valid.take(chosen)
        self._course = [row["kl"] for row in rows if row["split"] == "valid"]

    def __call__(self, kl: float | None) -> LatentUse:
        """The use of the latents at the current weights.

        Args:
            kl: the held-out KL of this evaluation, in nats per datum; ``None`` where there is none.
        """
        bound, device = self._loop.bound, self._loop.device
        batch = {name: value.to(device) for name, value in self._batch.items()}
        self._course.append(kl)
        with evaluating(bound), forked(device):
            found = embed_batch(bound.pair, bound.audit, batch)
        if not found.loc or len(batch["x"]) < LEAST:
            return LatentUse(None, "")
        active = sum(active_units(mean) for mean in found.loc.values())
        plan = self._loop.plan
        is_early = self._loop.progress.epoch <= max(EARLY, GRACE * plan.passes, plan.warm_up)
        if is_early or len(self._course) == 1 or is_learned(self._course):
            return LatentUse(active, "")
        return LatentUse(active, alarm(collapsed(found.loc, found.scale)))


def is_learned(course: Sequence[float | None]) -> bool:
    """Whether the KL was on its way up at one of the last 3 evaluations.

    It was at one at which it is 2 % above its lowest in the 5 that end there, and not below 0.01
    nats. So the KL of a slow start, or of a small learning rate, shows that it is learned.

    Args:
        course: the KL of each evaluation, in nats per datum; ``None`` where there is none.
    """
    ends = range(max(1, len(course) - PATIENCE + 1), len(course) + 1)
    return any(_is_rising(course[max(0, end - RECENT) : end]) for end in ends)


def _is_rising(recent: Sequence[float | None]) -> bool:
    known = [kl for kl in recent if kl is not None]
    return bool(known) and known[-1] >= max(FLOOR, RISE * min(known))
