"""Question after question, and the verdict of all."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ppvae.diagnostics.diagnosis import bound, estimator, evidence, gap, model, training, trust
from ppvae.diagnostics.diagnosis.case import Case
from ppvae.diagnostics.diagnosis.finding import Finding
from ppvae.diagnostics.diagnosis.result import Diagnosis
from ppvae.diagnostics.diagnosis.verdict import verdict
from ppvae.errors import InputError, nearest

__all__ = ["QUESTIONS", "demand_questions", "examine"]

QUESTIONS: dict[str, Callable[[Case], Finding]] = {
    "bound": bound.ask,
    "evidence": evidence.ask,
    "gap": gap.ask,
    "trust": trust.ask,
    "model": model.ask,
    "training": training.ask,
    "estimator": estimator.ask,
}


def demand_questions(names: Sequence[str]) -> None:
    """Refuse a question that is none.

    Raises:
        InputError: with the list, and the nearest.
    """
    for name in names:
        if name not in QUESTIONS:
            raise InputError(
                f"--only {name}: there is no such question{nearest(name, QUESTIONS)}; choose from "
                f"{', '.join(QUESTIONS)}"
            )


def examine(case: Case, only: Sequence[str], folder: Path) -> Diagnosis:
    """Ask all questions, or those of ``only``, in their order."""
    findings = {name: ask(case) for name, ask in QUESTIONS.items() if not only or name in only}
    return Diagnosis(case.name, len(case.data), findings, verdict(findings), folder)
