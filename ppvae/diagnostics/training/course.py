"""Course of a fit: the held-out objective by epoch."""

import math
from dataclasses import dataclass

from ppvae.run import Run


@dataclass(frozen=True)
class Course:
    """The held-out objective over the evaluated epochs at the final beta; nats per datum.

    Attributes:
        epochs: number of epochs.
        best: the epoch of the best objective.
        late: number of epochs in the last tenth, with at least one evaluation.
        late_gain: rise of the best objective in these, at least 0.
        after_best: fall of the objective from its best to the end.
    """

    epochs: int
    best: int
    late: int
    late_gain: float
    after_best: float


def course(run: Run) -> Course | None:
    """The course of a fit; ``None`` for too few epochs."""
    rows = [row for row in run.history() if row["split"] == "valid"]
    rows = [r for r in rows if r["objective"] is not None and math.isfinite(r["objective"])]
    if rows:
        rows = [row for row in rows if math.isclose(row["beta"], rows[-1]["beta"])]
    if len(rows) < 5:
        return None
    values = [row["objective"] for row in rows]
    count = max(1, len(values) // 10)
    best = max(range(len(values)), key=values.__getitem__)
    return Course(
        epochs=rows[-1]["epoch"],
        best=rows[best]["epoch"],
        late=rows[-1]["epoch"] - rows[-count - 1]["epoch"],
        late_gain=max(values) - max(values[:-count]),
        after_best=values[best] - values[-1],
    )
