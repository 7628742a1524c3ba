"""Questions in the order in which they are asked."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from ppvae import settings
from ppvae.diagnostics.answer import Answer
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.verdict import Diagnosis, verdict

QUESTIONS: dict[str, Callable[[Context], Answer]] = {
    name: import_module(f"ppvae.diagnostics.{name}.answer").ask for name in settings.QUESTIONS
}


def ask_questions(
    context: Context, only: Sequence[str], folder: Path, tell: Callable[[Answer], None]
) -> Diagnosis:
    """Ask all questions, or those of ``only``, in their order, and ``tell`` each answer."""
    answers: dict[str, Answer] = {}
    for name, ask in QUESTIONS.items():
        if not only or name in only:
            answers[name] = ask(context)
            tell(answers[name])
    beta, summary = context.run.config.get("beta"), context.run.summary or {}
    conclusion = verdict(
        answers,
        beta=float(beta) if isinstance(beta, (int, float)) else 1.0,
        status=str(summary.get("status", "")),
    )
    return Diagnosis(context.data_name, len(context.data), answers, conclusion, folder)
