"""What the answers say together: what is worst, where the nats are lost, and what to change.

The order is that of urgency. A fit that diverged, that a simple model beats, whose posterior has
collapsed, or whose data sets grossly differ from the real one, says so first. Then comes the part
to blame: the one whose deficit is the largest, unless a symptom points to another part. Deficits
are not parts of one sum: two parts may win the same nats, or only together.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppvae.diagnostics.answer import Answer, Deficit
from ppvae.diagnostics.shared.wording import as_sentence, plus_minus
from ppvae.diagnostics.symptoms import Symptom, symptoms

COMPARABLE = 0.5
"""Share of the largest deficit from which on a symptom decides that another part is to blame."""

ALIKE = 0.8
"""Share of the largest deficit from which on another is about as large."""

SAID = 3
"""Findings that the sentences have; the table has all."""

LARGEST = "The largest deficit measured"


@dataclass(frozen=True)
class Finding:
    """An entry of the verdict.

    Attributes:
        part: the part of the fit; a symptom's name where no part is found to blame for it.
        nats: its size, per datum; ``None`` where it has none.
        error: the standard error of it, where there is one.
        sentence: what is wrong, and what to change.
    """

    part: str
    nats: float | None
    error: float | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        findings: what is wrong, the worst first; then what is within noise.
        deficits: all that were measured, the largest first.
        sentences: the worst findings, and what else a person should know.
    """

    findings: tuple[Finding, ...]
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


def verdict(answers: Mapping[str, Answer], *, beta: float = 1.0, status: str = "") -> Verdict:
    """Rank what the answers found.

    Args:
        answers: by question.
        beta: the weight of the KL in the fit.
        status: how the fit ended, as ``summary.json`` has it.
    """
    everything = answers.values()
    deficits = _ranked(d for a in everything for d in a.deficits)
    seen = symptoms(everything, beta=beta, status=status)
    wrong = _wrong(deficits, seen)
    within_noise = [_finding(d, "Not significant") for d in deficits if not d.is_significant]
    sentences = [each.sentence for each in wrong[:SAID]]
    if deficits and not wrong:
        sentences = ["Of the deficits that were measured, none is significant."]
    sentences += [sentence for answer in everything for sentence in answer.sentences(everything)]
    sentences += _refused(answers)
    if not sentences:
        sentences = ["No question was asked that has a verdict."]
    return Verdict((*wrong, *within_noise), tuple(deficits), tuple(sentences))


def _ranked(deficits: Iterable[Deficit]) -> list[Deficit]:
    """One figure of each part, the largest first: with all trained along, where it was measured."""
    of_part: dict[str, Deficit] = {}
    for each in deficits:
        known = of_part.get(each.part)
        if known is None or (known.along is None and each.along is not None):
            of_part[each.part] = each
    # What is not a number is no reason for an order, and comes last.
    finite, others = (
        [each for each in of_part.values() if math.isfinite(each.nats) == wanted]
        for wanted in (True, False)
    )
    return [*sorted(finite, key=lambda each: -each.nats), *others]


def _wrong(deficits: Sequence[Deficit], seen: Sequence[Symptom]) -> list[Finding]:
    """The findings that are more than noise: what is to blame for the symptoms first."""
    significant = [each for each in deficits if each.is_significant]
    blamed = _blamed(significant, seen)
    others = [_finding(each, "Next") for each in significant if each is not blamed]
    if blamed is None:
        return [*map(_alone, seen), *others]
    clauses = "; ".join(symptom.clause for symptom in seen)
    opening = f"{clauses[:1].upper()}{clauses[1:]}; the deficit to blame" if seen else LARGEST
    return [_finding(blamed, opening), *others]


def _blamed(significant: Sequence[Deficit], seen: Sequence[Symptom]) -> Deficit | None:
    """The part to blame: that of a symptom, or the one that would win most."""
    for symptom in seen:
        pointed = [each for each in significant if symptom.blames and symptom.blames in each.part]
        if pointed and (symptom.is_decisive or pointed[0].nats >= COMPARABLE * significant[0].nats):
            return pointed[0]
        if symptom.is_decisive:
            return None
    return _largest(significant) if significant else None


def _largest(significant: Sequence[Deficit]) -> Deficit:
    """The largest deficit; of several that are about as large, what wins most by itself.

    With all parts trained along, one part may do another's work: a decoder can turn the latents
    until a diagonal guide fits. The part that wins with the others held is at fault.
    """
    top = significant[0]
    if top.held is None:
        return top
    near = [each for each in significant if each.nats >= ALIKE * top.nats]
    return max(near, key=lambda each: -math.inf if each.held is None else each.held.mean)


def _finding(deficit: Deficit, opening: str) -> Finding:
    size = plus_minus(deficit.nats, deficit.error)
    how = "" if deficit.held is None or deficit.along is not None else ", the others held"
    change = f" Change: {deficit.remedy}." if deficit.is_significant else ""
    sentence = f"{opening}: {deficit.part}, {size} nats{how}.{change}"
    return Finding(deficit.part, deficit.nats, deficit.error, sentence)


def _alone(symptom: Symptom) -> Finding:
    """A symptom that no measured part explains."""
    sentence = f"{as_sentence(symptom.clause)} Change: {symptom.remedy}."
    return Finding(symptom.blames or symptom.name, symptom.nats, symptom.error, sentence)


def _refused(answers: Mapping[str, Answer]) -> list[str]:
    """What the verdict does not know."""
    names = [name for answer in answers.values() for name in answer.refusals]
    listed = ", ".join(dict.fromkeys(names))
    return [f"Not answered, for the reasons given: {listed}."] if names else []
