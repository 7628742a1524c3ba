"""Status of a fit: converged, climbing, collapsed or diverged, and warnings.

``diverged``
    Log p(x) of the test data (or the bound, if there is none) is not finite, or more than 10 nats
    per element of x below that of independent elements; or the objective of the training data ended
    more than 1 nat per element below its best epoch.
``collapsed``
    The last evaluation raised the collapse alarm.
``climbing``
    In the last tenth of training the best held-out objective rose by more than 0.1 nats, by more
    than two standard errors of the final value (a decaying learning rate reduces noise and lets a
    long fit rise again, by less), and by more than 9 % of its rise since the first tenth (a
    straight line rises by 11 %). Training is measured in steps times learning rate, since every
    curve flattens under a schedule that ends at 0. The first tenth, and the first of several
    evaluations, do not count, as the start may be arbitrarily bad. A fit that was evaluated once,
    or that took fewer than 200 steps and ended at its best, also counts as climbing.
``converged``
    None of these: the objective no longer rises at this schedule of the learning rate. A longer fit
    may still win.

Objectives are compared at the final weight of the KL only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.diagnostics.shared.wording import as_sentence, plus_minus

type Word = Literal["converged", "climbing", "collapsed", "diverged"]

FAR = 10.0
"""Nats per element of x below independent elements that mean divergence."""

FALLEN = 1.0
"""Fall of the training objective from its best, in nats per element of x, that means divergence."""

LATE = 0.1
"""The last part of training, in steps times learning rate; and the first, which does not count."""

STEEP = 0.09
"""Share of the rise in that part that means climbing."""

FEW = 3
"""Minimum number of evaluations of which the first does not count."""

LEAST, LEAST_ERRORS = 0.1, 2.0
"""Minimum rise in nats, and in standard errors of the final value."""

FEW_STEPS = 200
"""Minimum number of steps of a converged fit that ended at its best, since schedules flatten the
end.
"""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Status:
    """Status of a fit.

    Attributes:
        word: ``"converged"``, ``"climbing"``, ``"collapsed"`` or ``"diverged"``.
        warnings: sentences to show before and after the results.
    """

    word: Word
    warnings: tuple[str, ...]


def status(
    metrics: Rows,
    baselines: Baselines,
    value: float | None,
    elements: int,
    error: float | None = None,
) -> Status:
    """Status of a fit, by its course and baselines.

    Args:
        metrics: the rows of ``metrics.csv``.
        baselines: the baselines of its log p(x).
        value: log p(x) of the test data, or the bound if there is none; in nats per datum.
        elements: number of elements of x.
        error: the standard error of ``value``, if it is known.
    """
    train, valid = (_at_final_beta(metrics, split) for split in ("train", "valid"))
    divergence = _divergence(train, baselines, value, elements)
    alarm = str(valid[-1]["alarm"] or "") if valid else ""
    collapse = as_sentence(alarm) if alarm else ""
    climb = "" if divergence or collapse else _climb(train, valid, error or 0.0)
    word: Word = "converged"
    if divergence:
        word = "diverged"
    elif collapse:
        word = "collapsed"
    elif climb:
        word = "climbing"
    said = (divergence, collapse, "" if divergence else _failure(baselines), climb)
    return Status(word, tuple(filter(None, said)))


def _at_final_beta(metrics: Rows, split: str) -> list[Mapping[str, Any]]:
    """The rows of a split with an objective, at the final weight of the KL."""
    rows = [row for row in metrics if row["split"] == split and row["objective"] is not None]
    return [row for row in rows if math.isclose(row["beta"], rows[-1]["beta"])]


def _divergence(train: Rows, baselines: Baselines, value: float | None, elements: int) -> str:
    """Warning of a divergence, if there is one."""
    remedy = "Take a smaller `lr`, or `clip`, the maximum norm of a gradient."
    independent, said = baselines.independent, baselines.evidence
    if value is not None and not math.isfinite(value):
        return f"The fit diverged: {said} of the test data is not finite. {remedy}"
    if independent is not None and value is not None:
        below = independent.log_p.mean - value
        if below > FAR * elements:
            return (
                f"The fit diverged: it is {plus_minus(below, None)} nats per datum worse than "
                f"{independent.about}. {remedy}"
            )
    objectives = [row["objective"] for row in train]
    fallen = max(objectives) - objectives[-1] if objectives else 0.0
    if not fallen <= FALLEN * elements:
        return (
            "The fit diverged: the objective of the training data ended "
            f"{plus_minus(fallen, None)} nats per datum below its best. {remedy}"
        )
    return ""


def _failure(baselines: Baselines) -> str:
    """Warning of a fit that is worse than independent elements, if it is."""
    independent = baselines.independent
    if independent is None or independent.difference is None or not independent.is_better:
        return ""
    of = independent.difference
    below = plus_minus(-of.mean, of.standard_error)
    return (
        f"The fit is worse than {independent.about}, a model without any dependence: "
        f"{baselines.evidence} is {below} nats below its value."
    )


def _climb(train: Rows, valid: Rows, error: float) -> str:
    """Warning of a held-out objective that was still rising steeply, if it was."""
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
    steps = train[-1]["step"]
    if not rise > max(LEAST, LEAST_ERRORS * error, STEEP * won):
        if steps >= FEW_STEPS or best[-1] == best[-2]:
            return ""
        return (
            f"The fit may still have been climbing when it ended: it took {steps} steps, and its "
            "last evaluation was its best. Give more `epochs`."
        )
    count = max(1, round(epochs[-1] - float(np.interp(late, gone, epochs))))
    return (
        "The fit was still climbing when it ended: the held-out objective rose by "
        f"{plus_minus(rise, None)} nats in the last {count} epoch{'' if count == 1 else 's'}. Give "
        "twice the `epochs`; if that wins little, a larger `lr`."
    )


def _way(train: Rows) -> Iterator[tuple[int, float]]:
    """By epoch, the sum of learning rates over steps so far."""
    way, step = 0.0, 0
    for row in train:
        way += (row["step"] - step) * row["lr"]
        step = row["step"]
        yield row["epoch"], way
