"""How did the fit go: did it end too early, or learn its data by heart?

The course of the held-out objective says whether more epochs would have paid. The same estimates on
training data and on the examined ones say how much was learned by heart, and by which of the two:
log p(x) is the model's alone, and what lies between it and the bound is the guide's doing.
"""

import math
from dataclasses import dataclass
from typing import Any

from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Finding, Row, plus_minus
from ppvae.diagnostics.evidence import Evidence, log_evidence
from ppvae.diagnostics.figures import figure
from ppvae.run import Run

__all__ = ["Course", "Memory", "ask", "course"]

SAMPLES = 50
"""Importance samples a datum: what the two sets of data have in common cancels."""


@dataclass(frozen=True)
class Course:
    """The held-out objective over the epochs at the final beta; nats per datum.

    Attributes:
        epochs: how many there were.
        best: the epoch whose objective was best.
        late: how many of them are the last tenth, one at least.
        late_gain: by how much the best objective rose in these: 0, or more.
        after_best: by how much the objective fell from its best to the end.
    """

    epochs: int
    best: int
    late: int
    late_gain: float
    after_best: float


@dataclass(frozen=True)
class Memory:
    """What the training data have over the examined ones, each with its standard error.

    Over data from the same source it is what was learned by heart; over other data it is as well
    how these differ. log p(x) is by few importance samples: what the guide loses beyond these, more
    on data that it has not seen, counts as the model's.

    Attributes:
        is_own: the examined data are a part of the run's own.
        log_p: difference of mean log p(x): what the model knows by heart.
        gap: by how much less the bound lacks of log p(x): what the encoder knows by heart.
    """

    is_own: bool
    log_p: tuple[float, float]
    gap: tuple[float, float]


def ask(case: Case) -> Finding:
    """Read ``metrics.csv``, and estimate log p(x) of training data beside the examined ones."""
    results: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    rows: list[Row] = []
    refusals: dict[str, str] = {}
    way = course(case.run)
    if way is None:
        refusals["course of the fit"] = "metrics.csv has fewer than 5 epochs at the final beta"
    else:
        results["course"] = way
        figures["course"] = vars(way)
        rows.append(
            (
                f"last {way.late} of the epochs",
                f"{way.late_gain:+.2f}",
                "gain of the best held-out objective",
            )
        )
        rows.append(("best epoch", f"{way.best}", f"of {way.epochs}"))
    memory = _memory(case, refusals)
    if memory is not None:
        results["memory"], results["log_p_name"] = memory, case.log_p_name
        by = "learned by the {}" if memory.is_own else "learned by the {}, or other data"
        figures["memory"] = {
            "log_p": memory.log_p[0], "log_p_error": memory.log_p[1],
            "gap": memory.gap[0], "gap_error": memory.gap[1],
        }  # fmt: skip
        rows.append(
            (
                f"{case.log_p_name}, training less these",
                plus_minus(*memory.log_p),
                by.format("model"),
            )
        )
        rows.append(("gap, these less training", plus_minus(*memory.gap), by.format("encoder")))
    return Finding("How did the fit go?", results, figures, tuple(rows), {}, refusals)


def course(run: Run) -> Course | None:
    """The course of a fit; ``None`` where there are too few epochs to speak of one."""
    rows = [row for row in run.metrics() if row["split"] == "valid"]
    rows = [r for r in rows if r["objective"] is not None and math.isfinite(r["objective"])]
    if rows:
        rows = [row for row in rows if math.isclose(row["beta"], rows[-1]["beta"])]
    if len(rows) < 5:
        return None
    values = [row["objective"] for row in rows]
    late = max(1, len(values) // 10)
    best = max(range(len(values)), key=values.__getitem__)
    return Course(
        epochs=rows[-1]["epoch"],
        best=rows[best]["epoch"],
        late=late,
        late_gain=max(values) - max(values[:-late]),
        after_best=values[best] - values[-1],
    )


def _memory(case: Case, refusals: dict[str, str]) -> Memory | None:
    train = case.some_of_training(case.effort.rows)
    name = "learned by heart"
    if train is None:
        refusals[name] = "it takes the training data beside others, and these are not at hand"
        return None
    if not case.facts.has_evidence:
        refusals[name] = "it takes log p(x) of each datum by importance sampling, and there is none"
        return None
    found: list[Evidence] = []
    for split in (train, case.some(case.effort.rows)):
        with case.progress("training data, beside others", len(split)) as count:
            found.append(
                log_evidence(
                    case.pair, case.facts, split, samples=min(case.effort.samples, SAMPLES),
                    seed=case.seed, device=case.device, on_rows=count,
                )
            )  # fmt: skip
    learned, seen = found
    return Memory(
        is_own=case.is_own,
        log_p=_difference(learned.log_p, seen.log_p),
        gap=_difference(seen.log_p - seen.elbo, learned.log_p - learned.elbo),
    )


def _difference(a: Any, b: Any) -> tuple[float, float]:
    """Mean of a less that of b, of independent data, and its standard error."""
    one, other = figure(a), figure(b)
    return one.mean - other.mean, math.hypot(one.standard_error, other.standard_error)
