"""A diagnosis: the answers, and what they say together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ppvae.diagnostics.answer import Answer
from ppvae.diagnostics.verdict import Verdict

__all__ = ["Diagnosis"]


@dataclass(frozen=True)
class Diagnosis:
    """What `ppvae.diagnose.diagnose` finds of a run.

    Attributes:
        data: what the examined data are called.
        rows: how many there are.
        answers: the answer to each question that was asked, by name.
        verdict: where the nats are lost, and what to change.
        path: the folder that holds it all.
    """

    data: str
    rows: int
    answers: Mapping[str, Answer]
    verdict: Verdict
    path: Path
