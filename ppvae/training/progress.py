"""Progress of a fit: epochs, steps and the best so far, as plain numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ppvae.bounds.objective import Terms

SUMS = len(Terms._fields) + 1
"""Sums over an epoch: the objective, its terms, and the number of data."""


@dataclass
class Progress:
    """The progress of a fit.

    Attributes:
        epoch: finished epochs.
        step: finished steps.
        cursor: finished batches of this epoch.
        seconds: total time, including earlier runs of a resumed fit.
        compile_seconds: of these, for tracing and compiling.
        best: the best held-out objective.
        best_step: its step.
        stale: epochs since then.
        evaluated: the epoch of the last evaluation; 0: there was none.
        is_one_graph: whether a training step may be one graph; false once that failed.
        uncompiled: why nothing is compiled any more; ``""`` if it may be.
        sums: sums over this epoch so far.
    """

    epoch: int = 0
    step: int = 0
    cursor: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    evaluated: int = 0
    is_one_graph: bool = True
    uncompiled: str = ""
    sums: list[float] = field(default_factory=lambda: [0.0] * SUMS)

    @classmethod
    def read(cls, saved: Mapping[str, Any]) -> "Progress":
        """Read saved progress.

        Raises:
            TypeError: if it was not saved by this class.
        """
        begun = asdict(cls())
        if (
            saved.keys() != begun.keys()
            or any(
                begun[name] is not None and type(saved[name]) is not type(begun[name])
                for name in begun
            )
            or len(saved["sums"]) != SUMS
        ):
            raise TypeError(f"progress is {saved}")
        return cls(**saved)
