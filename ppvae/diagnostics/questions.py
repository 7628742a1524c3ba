"""The questions, in the order in which they are asked."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ppvae.diagnostics.answer import Answer
from ppvae.diagnostics.bound import answer as bound
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.estimator import answer as estimator
from ppvae.diagnostics.evidence import answer as evidence
from ppvae.diagnostics.gap import answer as gap
from ppvae.diagnostics.model import answer as model
from ppvae.diagnostics.training import answer as training
from ppvae.diagnostics.trust import answer as trust
from ppvae.diagnostics.verdict import Diagnosis, verdict
from ppvae.errors import InputError, nearest

QUESTIONS: dict[str, Callable[[Context], Answer]] = {
    "bound": bound.ask,
    "evidence": evidence.ask,
    "gap": gap.ask,
    "trust": trust.ask,
    "model": model.ask,
    "training": training.ask,
    "estimator": estimator.ask,
}


def check_questions(names: Sequence[str]) -> None:
    """Refuse an unknown question.

    Raises:
        InputError: with the list, and the nearest.
    """
    for name in names:
        if name not in QUESTIONS:
            raise InputError(
                f"`only={name!r}`: there is no such question{nearest(name, QUESTIONS)}; choose "
                f"from {', '.join(QUESTIONS)}"
            )


def ask_questions(context: Context, only: Sequence[str], folder: Path) -> Diagnosis:
    """Ask all questions, or those of ``only``, in their order."""
    answers = {name: ask(context) for name, ask in QUESTIONS.items() if not only or name in only}
    is_whole = len(answers) == len(QUESTIONS)
    conclusion = verdict(answers, is_whole=is_whole)
    return Diagnosis(context.data_name, len(context.data), answers, conclusion, folder)
