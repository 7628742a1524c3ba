"""How a fit ended: converged, climbing, collapsed or diverged; and what is said of it loudly.

``diverged``
    Log p(x) of the test data (or, where there is none, the bound) is no number, or more than 10
    nats per element of x below that of independent elements; or the objective of the training data
    ended more than 1 nat per element below its best epoch.
``collapsed``
    The last evaluation raised the alarm of a collapsed posterior.
``climbing``
    In the last tenth of the way the best held-out objective rose by more than 0.1 nats, and by more
    than 9 % of all that it won: its rise since the first tenth (a straight line rises by 11 %), or
    its lead over independent elements where that is more, since noise that a falling learning rate
    takes away lets a long fit rise once more. The way is measured in steps times learning rate:
    under a schedule that ends at 0 every course is flat. The first tenth, and the first evaluation
    of several, do not count, as a start may be arbitrarily bad. Nor has a fit converged, as far as
    can be told, that was evaluated once, or took fewer than 200 steps and ended at its best.
``converged``
    None of these.

Objectives are compared at the final weight of the KL only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.diagnostics.shared.wording import plus_minus

type Word = Literal["converged", "climbing", "collapsed", "diverged"]

FAR = 10.0
"""Nats per element of x below independent elements at which a fit has diverged."""

FALLEN = 1.0
"""Nats per element of x that the training objective of a diverged fit fell from its best."""

LATE = 0.1
"""The last part of the way, steps times learning rate; and the first, which does not count."""

STEEP = 0.09
"""Share of all that was won that is steep in that part."""

FEW = 3
"""Evaluations of which the first does not count."""

LEAST = 0.1
"""Nats below which a rise is none."""

FEW_STEPS = 200
"""Steps below which a fit has not converged that ended at its best: a schedule flattens the end."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Status:
    """How a fit ended.

    Attributes:
        word: ``"converged"``, ``"climbing"``, ``"collapsed"`` or ``"diverged"``.
        warnings: sentences that come before all figures, and again after them.
    """

    word: Word
    warnings: tuple[str, ...]


def status(metrics: Rows, baselines: Baselines, value: float | None, elements: int) -> Status:
    """How a fit ended, by its course and by its baselines.

    Args:
        metrics: the rows of ``metrics.csv``.
        baselines: what its log p(x) is held against.
        value: log p(x) of the test data, or the bound where there is none; in nats per datum.
        elements: how many x has.
    """
    train, valid = (_at_final_beta(metrics, split) for split in ("train", "valid"))
    divergence = _divergence(train, baselines, value, elements)
    climb = "" if divergence else _climb(train, valid, baselines)
    is_collapsed = bool(valid) and bool(valid[-1]["alarm"])
    word: Word = "converged"
    if divergence:
        word = "diverged"
    elif is_collapsed:
        word = "collapsed"
    elif climb:
        word = "climbing"
    return Status(word, tuple(filter(None, (divergence or _failure(baselines), climb))))


def _at_final_beta(metrics: Rows, split: str) -> list[Mapping[str, Any]]:
    """The rows of a split with an objective, at the weight of the KL that the fit ended with."""
    rows = [row for row in metrics if row["split"] == split and row["objective"] is not None]
    return [row for row in rows if math.isclose(row["beta"], rows[-1]["beta"])]


def _divergence(train: Rows, baselines: Baselines, value: float | None, elements: int) -> str:
    """What shows that the fit diverged, if it did."""
    remedy = "Take a smaller `lr`, or `clip`, the largest norm of a gradient."
    independent, said = baselines.independent, baselines.evidence
    if value is not None and not math.isfinite(value):
        return f"The fit diverged: {said} of the test data is no number. {remedy}"
    if independent is not None and value is not None:
        below = independent.log_p.mean - value
        if below > FAR * elements:
            return (
                f"The fit diverged: it is {below:,.2f} nats per datum worse than "
                f"{independent.about}. {remedy}"
            )
    objectives = [row["objective"] for row in train]
    fallen = max(objectives) - objectives[-1] if objectives else 0.0
    if not fallen <= FALLEN * elements:
        return (
            "The fit diverged: the objective of the training data ended "
            f"{fallen:,.2f} nats per datum below its best. {remedy}"
        )
    return ""


def _failure(baselines: Baselines) -> str:
    """That the fit is worse than independent elements, if it is."""
    independent = baselines.independent
    if independent is None or independent.difference is None or not independent.is_better:
        return ""
    of = independent.difference
    below = plus_minus(-of.mean, of.standard_error)
    return (
        f"The fit is worse than {independent.about}, which know nothing of each other: "
        f"{baselines.evidence} is {below} nats below theirs."
    )


def _climb(train: Rows, valid: Rows, baselines: Baselines) -> str:
    """That the held-out objective was still rising steeply, if it was."""
    way = dict(_way(train))
    if not way or (valid and not math.isfinite(valid[-1]["objective"])):
        return ""
    if len(valid) < 2:
        return (
            "The fit may still have been climbing when it ended: it was evaluated only once at the "
            "final weight of the KL. Give more `epochs`."
        )
    epochs = [row["epoch"] for row in valid]
    gone = [way[epoch] for epoch in epochs]
    best = np.maximum.accumulate([row["objective"] for row in valid])
    late = (1 - LATE) * gone[-1]
    rise = float(best[-1] - np.interp(late, gone, best))
    early = max(LATE * gone[-1], gone[len(gone) >= FEW])
    won = float(best[-1] - np.interp(early, gone, best))
    if baselines.independent is not None:
        won = max(won, float(best[-1]) - baselines.independent.log_p.mean)
    steps = train[-1]["step"]
    if not rise > max(LEAST, STEEP * won):
        if steps >= FEW_STEPS or best[-1] == best[-2]:
            return ""
        return (
            f"The fit may still have been climbing when it ended: it took {steps} steps, and its "
            "last evaluation was its best. Give more `epochs`."
        )
    count = max(1, round(epochs[-1] - float(np.interp(late, gone, epochs))))
    return (
        f"The fit was still climbing when it ended: the held-out objective rose by {rise:.2f} nats "
        f"in the last {count} epoch{'' if count == 1 else 's'}. Give more `epochs`, or a larger "
        "`lr`."
    )


def _way(train: Rows) -> Iterator[tuple[int, float]]:
    """By epoch, the steps so far, each times its learning rate."""
    way, step = 0.0, 0
    for row in train:
        way += (row["step"] - step) * row["lr"]
        step = row["step"]
        yield row["epoch"], way
