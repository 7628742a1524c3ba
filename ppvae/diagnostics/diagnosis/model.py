"""Would the model generate such data?"""

from typing import Any

from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.predictive import Predictive, check

__all__ = ["ask"]


def ask(case: Case) -> Finding:
    """Compare the data with data sets drawn from the model, in a few statistics."""
    answers = Answers("Would the model generate such data?")
    few = case.some(case.effort.rows)
    replications = case.effort.replications
    with (
        case.progress("replicated data sets", replications * len(few)) as count,
        answers.trying("predictive check"),
    ):
        found = check(
            case.pair, case.facts, few, replications=replications, seed=case.seed,
            device=case.device, on_rows=count,
        )  # fmt: skip
        _keep(answers, found)
    return answers.finding()


def _keep(answers: Answers, found: Predictive) -> None:
    answers.result("predictive", found)
    answers.figures |= {
        "kind": found.kind, "rows": found.rows, "verdict": found.verdict,
        "statistics": {
            name: {
                "observed": s.observed, "replicated": float(s.replicated.mean()),
                "replicated_sd": float(s.replicated.std()), "p_value": s.p_value,
                "z_score": s.z_score,
            }
            for name, s in found.statistics.items()
        },
    }  # fmt: skip
    for name, s in found.statistics.items():
        answers.rows.append(
            (
                name, f"{s.observed:.4g}",
                f"model's {float(s.replicated.mean()):.4g} +- {float(s.replicated.std()):.2g}, "
                f"p {'=' if s.p_value > 2 / (len(s.replicated) + 1) else '<='} {s.p_value:.2g}",
            )
        )  # fmt: skip

    def draw() -> Any:
        from ppvae import plots

        return plots.predictive(
            {name: s.observed for name, s in found.statistics.items()},
            {name: s.replicated.numpy() for name, s in found.statistics.items()},
            {name: s.p_value for name, s in found.statistics.items()},
        )

    answers.pictures["predictive"] = draw
