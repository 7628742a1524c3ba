"""By which estimator to climb, and with how many particles?"""

from typing import Any

from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.estimators import ESTIMATORS, Estimators, compare_estimators

__all__ = ["ask"]

ROWS = 64
"""Most data in the batch that the gradients are of."""


def ask(case: Case) -> Finding:
    """Estimate value and gradient again and again, by each estimator, on one batch."""
    answers = Answers("By which estimator to climb?")
    rows = case.order[: min(ROWS, int(case.run.config["batch_size"]))]
    batch = {name: value.to(case.device) for name, value in case.data.take(rows).items()}
    effort = case.effort
    total = len(ESTIMATORS) * len(effort.particles) * effort.estimates
    with case.progress("estimators", total) as count, answers.trying("estimators"):
        found = compare_estimators(
            case.pair, case.facts, batch, particles=effort.particles, draws=effort.estimates,
            rounds=max(3, effort.estimates // 3), seed=case.seed, on_draw=count,
        )  # fmt: skip
        _keep(answers, found, len(batch["x"]))
        own = str((case.run.config.get("elbo") or {}).get("class_path"))
        if any(row.name == own for row in found.rows):
            answers.result("own_estimator", found.row(own))
    return answers.finding()


def _keep(answers: Answers, found: Estimators, rows: int) -> None:
    answers.result("estimators", found)
    answers.figures |= {
        "rows": rows,
        "repetitions": found.draws,
        "best": {"name": found.best.name, "particles": found.best.particles},
        "recommendation": found.recommendation,
        "estimators": [vars(row) | {"price": row.price} for row in found.rows],
    }
    answers.refusals |= found.refused
    for row in found.rows:
        answers.rows.append(
            (
                f"{row.name}, {row.particles}", f"{row.value:,.2f} +- {row.value_error:.2f}",
                f"variance {row.relative_variance:.2g}, time {row.relative_cost:.2g}, "
                f"product {row.price:.2g} of the first's",
            )
        )  # fmt: skip

    def draw() -> Any:
        from ppvae import plots

        return plots.estimators([vars(row) for row in found.rows])

    answers.pictures["estimators"] = draw
