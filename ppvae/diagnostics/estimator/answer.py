"""Which gradient estimator is best, and with how many particles?"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.answer import ERRORS, Answer, Attempts, Picture, Row
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.estimator.estimators import ESTIMATORS, Estimators, compare_estimators
from ppvae.diagnostics.estimator.one_estimator import Estimator
from ppvae.diagnostics.shared.wording import as_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 64
"""Maximum number of data in the batch of the gradients."""


@dataclass(frozen=True, repr=False)
class EstimatorAnswer(Answer):
    """Noise and time of each estimator.

    Attributes:
        batch_rows: data in the batch of the gradients.
        estimators: the estimators; ``None`` where refused.
        own: the estimator of the run with one particle, if it is one of these.
    """

    batch_rows: int
    estimators: Estimators | None
    own: Estimator | None

    question = "Which gradient estimator is best?"
    deficits = ()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Each estimator, and the recommendation."""
        estimators = self.estimators
        if estimators is None:
            return {}
        return {
            "rows": self.batch_rows,
            "repetitions": estimators.draws,
            "best": {"name": estimators.best.name, "particles": estimators.best.particles},
            "recommendation": estimators.recommendation,
            "estimators": [
                vars(row) | {"relative_work": row.relative_work} for row in estimators.rows
            ],
        }

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each estimator."""
        return tuple(
            (
                f"{row.name}, {row.particles}", f"{row.value:,.2f} +- {row.value_error:.2f}",
                f"variance {row.relative_variance:.2g}, time {row.relative_cost:.2g}, "
                f"product {row.relative_work:.2g} of the first's",
            )
            for row in (() if self.estimators is None else self.estimators.rows)
        )  # fmt: skip

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Noise, time and value of each estimator by particles."""
        estimators = self.estimators
        if estimators is None:
            return ()

        def draw() -> "Figure":
            from ppvae.diagnostics.estimator.figure import draw_estimators

            return draw_estimators([vars(row) for row in estimators.rows])

        alt = (
            "Noise of the gradient, by estimator and number of particles: the best is "
            f"{estimators.best.name} with {estimators.best.particles} a datum."
        )
        return (Picture("estimators", alt, draw),)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """The recommended estimator; the table has the comparison."""
        estimators, own = self.estimators, self.own
        if estimators is None:
            return ()
        best = estimators.best
        if own is not None and own.name != best.name and _is_tie(estimators.row(best.name), own):
            return (f"Keep {own.name}: {best.name} is not better at this many repetitions.",)
        pay = f"; more pay: `particles={best.particles}`" if best.particles > 1 else ""
        return (as_sentence(estimators.clauses[0] + pay),)


def ask(context: Context) -> EstimatorAnswer:
    """Estimate value and gradient repeatedly on one batch, with each estimator."""
    effort, attempt = context.effort, Attempts()
    batch = context.batch(context.order[: min(ROWS, int(context.run.config["batch_size"]))])
    total = len(ESTIMATORS) * len(effort.particles) * effort.estimates

    def compare() -> Estimators:
        with context.progress("estimators", total) as count:
            return compare_estimators(
                context.pair, context.audit, batch, particles=effort.particles,
                draws=effort.estimates, rounds=max(3, effort.estimates // 3), seed=context.seed,
                on_draw=count,
            )  # fmt: skip

    estimators, own = attempt("estimators", compare), None
    if estimators is not None:
        attempt.refusals |= estimators.refused
        name = str((context.run.config.get("elbo") or {}).get("class_path"))
        own = estimators.row(name) if any(row.name == name for row in estimators.rows) else None
    return EstimatorAnswer(attempt.refusals, len(batch["x"]), estimators, own)


def _is_tie(one: Estimator, other: Estimator) -> bool:
    """Whether the work of two estimators for equal precision does not differ significantly."""
    apart = abs(one.relative_work - other.relative_work)
    noise = math.hypot(one.relative_work_error, other.relative_work_error)
    is_close = apart < max(ERRORS * noise, 0.1 * other.relative_work)
    return is_close or other.relative_work < one.relative_work
