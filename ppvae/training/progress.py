"""Where a fit stands: plain numbers, saved as they are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ppvae.bounds.objective import Terms

__all__ = ["SUMS", "Progress"]

SUMS = len(Terms._fields) + 1
"""Sums over an epoch: the objective, its terms, and the number of data."""


@dataclass
class Progress:
    """Where the loop stands.

    Attributes:
        epoch: epochs done.
        step: steps done.
        cursor: batches of this epoch that are done.
        seconds: spent, over all sittings.
        best: the best held-out objective.
        best_step: the step it was at.
        stale: epochs since.
        is_one_graph: false once a step was found to be no single graph.
        uncompiled: why nothing is compiled any more, in a sentence; ``""``: it may be.
        sums: over this epoch.
    """

    epoch: int = 0
    step: int = 0
    cursor: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    is_one_graph: bool = True
    uncompiled: str = ""
    sums: list[float] = field(default_factory=lambda: [0.0] * SUMS)

    @classmethod
    def read(cls, saved: Mapping[str, Any]) -> "Progress":
        """What was saved.

        Raises:
            TypeError: if it is no progress.
        """
        progress = dict(saved)
        begun = asdict(cls())
        if (
            progress.keys() != begun.keys()
            or any(
                begun[name] is not None and type(progress[name]) is not type(begun[name])
                for name in begun
            )
            or len(progress["sums"]) != SUMS
        ):
            raise TypeError(f"progress is {progress}")
        return cls(**progress)
