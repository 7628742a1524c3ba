"""What the answers say together: where the nats are lost, and what to change.

Deficits are not parts of one sum: the gaps are what the bound lacks of log p(x); the others are
what another prior, or another fit, would add to log p(x) or to the bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ppvae.diagnostics.answer import Answer, Deficit


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        deficits: all that were measured, the largest first.
        sentences: what to change, and what else a person should know.
    """

    deficits: tuple[Deficit, ...]
    sentences: tuple[str, ...]


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


def verdict(answers: Mapping[str, Answer], *, is_whole: bool) -> Verdict:
    """Sort the deficits of all answers, and collect what they say."""
    everything = answers.values()
    deficits = sorted((d for a in everything for d in a.deficits), key=lambda d: -d.nats)
    has_all = is_whole and all(answer.has_all_deficits for answer in everything)
    sentences = [
        *_largest(deficits, has_all),
        *(sentence for answer in everything for sentence in answer.sentences(everything)),
        *_refused(answers),
    ]
    if not sentences:
        sentences = ["No question was asked that has a verdict."]
    return Verdict(tuple(deficits), tuple(sentences))


def _largest(deficits: list[Deficit], has_all: bool) -> list[str]:
    if not deficits:
        return []
    largest = [deficit for deficit in deficits if deficit.is_significant][:2]
    if not largest and has_all:
        return [
            "No deficit is significant: what is left to gain is in another decoder, or another "
            "likelihood."
        ]
    if not largest:
        return ["Of the deficits that were measured, none is significant."]
    openings = ["The largest deficit" if has_all else "The largest deficit measured", "Next"]
    return [
        f"{opening}: {deficit.part}, {deficit.nats:.2f} nats. Change: {deficit.remedy}."
        for opening, deficit in zip(openings, largest, strict=False)
    ]


def _refused(answers: Mapping[str, Answer]) -> list[str]:
    """What the verdict does not know."""
    names = [name for answer in answers.values() for name in answer.refusals]
    listed = ", ".join(dict.fromkeys(names))
    return [f"Not answered, for the reasons given: {listed}."] if names else []
