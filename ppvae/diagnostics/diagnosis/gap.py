"""Where is the gap between the bound and log p(x): the guide's family, or the encoder?"""

from typing import Any

from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Answers, Finding
from ppvae.diagnostics.exact import exact_posterior
from ppvae.diagnostics.gaps import gaps

__all__ = ["ask"]


def ask(case: Case) -> Finding:
    """Refine q datum by datum, and see what that wins."""
    log_p = case.log_p_name
    answers = Answers(f"Where is the gap between the bound and {log_p}?")
    answers.result("log_p_name", log_p)
    few = case.some(case.effort.refined_rows)
    known = None
    if case.facts.is_local:
        known = exact_posterior(case.pair, case.facts, few, seed=case.seed, device=case.device)
    with case.progress("the best guide of each datum", len(few)) as count, answers.trying("gaps"):
        found = gaps(
            case.pair, case.facts, few, log_p=None if known is None else known.log_p,
            steps=case.effort.refine_steps, seed=case.seed,
            device=case.device, on_rows=count,
        )  # fmt: skip
        answers.result("gaps", found)
        by = f"by {found.estimator}" if known is None else "known exactly"
        answers.figures |= {
            "rows": len(found.log_p), "refined_by": found.how, "log_p_by": by,
            "still_climbing": found.still_climbing,
        }  # fmt: skip
        for name, gap, note in (
            (
                "amortization",
                found.amortization,
                "what the encoder loses of the best in the family",
            ),
            ("approximation", found.approximation, "what the best in the family lacks"),
            ("total", found.total, f"{log_p} - bound; {log_p} {by}"),
        ):
            answers.figure(f"{name}_gap", gap.mean, gap.standard_error)
            answers.row(f"{name} gap", gap.mean, gap.standard_error, note)

        def draw() -> Any:
            from ppvae import plots

            return plots.gaps(
                found.approximation.by_datum.numpy(), found.amortization.by_datum.numpy(),
                elbo=found.elbo.numpy(), log_p=found.log_p.numpy(),
            )  # fmt: skip

        answers.pictures["gaps"] = draw
    return answers.finding()
