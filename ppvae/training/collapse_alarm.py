"""Alarm of posterior collapse during a fit.

At each evaluation it checks on held-out rows whether the latent is used, or still being learned.
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
"""Share of the epochs without an alarm, since at first no latent is used."""

EARLY = 4
"""Number of first epochs in which the KL does not show whether a latent is being learned."""

RECENT = 5
"""Number of evaluations over which the KL is compared."""

RISE = 1.02
"""Minimum rise of the KL over the lowest of those, for a latent that is being learned."""

FLOOR = 0.01
"""Nats per datum below which the KL is only noise."""

PATIENCE = 3
"""Number of evaluations without a rise after which a latent is no longer being learned."""

ROWS = 2_000
"""Maximum number of held-out rows to encode: enough for the variance of means to a few percent."""


class LatentUse(NamedTuple):
    """Use of the latents at an evaluation.

    Attributes:
        active_units: number of active latent dimensions; ``None`` if no latent belongs to a datum,
            or there are too few data.
        alarm: a sentence if the posterior of a site has collapsed, else ``""``. There is none in
            the first tenth of the epochs, in the first four, in the warm-up, and while the KL shows
            that the latent is being learned: see `is_learned`.
    """

    active_units: int | None
    alarm: str


class CollapseAlarm:
    """Counts active units on held-out rows, and warns of a collapse; random states are unchanged.

    Args:
        loop: the fit.
        rows: the rows of ``metrics.csv`` so far, with the KL of earlier evaluations.
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
    """Whether the KL was rising at one of the last 3 evaluations.

    It rises at an evaluation if it is 2 % above its lowest value in the last 5 evaluations and not
    below 0.01 nats. So slow learning, as with a small learning rate, is detected.

    Args:
        course: the KL of each evaluation, in nats per datum; ``None`` where there is none.
    """
    ends = range(max(1, len(course) - PATIENCE + 1), len(course) + 1)
    return any(_is_rising(course[max(0, end - RECENT) : end]) for end in ends)


def _is_rising(recent: Sequence[float | None]) -> bool:
    known = [kl for kl in recent if kl is not None]
    return bool(known) and known[-1] >= max(FLOOR, RISE * min(known))
