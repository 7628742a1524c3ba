"""The verdict on a fit: its worst problem, where nats are lost, and what to change.

The most urgent comes first: a fit that diverged, is beaten by a simple model, has a collapsed
posterior, or generates grossly different data. Then comes the part to blame: that of the largest
deficit, unless a symptom points to another part. Deficits do not add up: two parts may gain the
same nats, or only together.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppvae.diagnostics.answer import LEAST, Answer, Deficit, is_noise
from ppvae.diagnostics.shared.wording import as_sentence, plus_minus
from ppvae.diagnostics.symptoms import Symptom, symptoms

COMPARABLE = 0.5
"""Minimum share of the largest deficit for a part that a symptom blames instead."""

ALIKE = 0.8
"""Share of the largest deficit from which another counts as about as large."""

SAID = 3
"""Maximum number of findings in sentences; the table has all."""

LARGEST = "The largest deficit measured"


@dataclass(frozen=True)
class Finding:
    """An entry of the verdict.

    Attributes:
        part: the part of the fit; the name of a symptom that no part explains.
        nats: its size per datum, or ``None``.
        error: its standard error, if there is one.
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
        findings: problems, the worst first; then what is within noise or too small.
        deficits: all measured deficits, the largest first.
        sentences: the worst findings, and other important results.
    """

    findings: tuple[Finding, ...]
    deficits: tuple[Deficit, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Result of `ppvae.diagnose.diagnose`.

    Attributes:
        data: name of the examined data.
        rows: their number.
        answers: the answer to each question that was asked, by name.
        verdict: where nats are lost, and what to change.
        path: the folder of its files.
    """

    data: str
    rows: int
    answers: Mapping[str, Answer]
    verdict: Verdict
    path: Path

    def __repr__(self) -> str:
        about = f"Diagnosis of {self.data} data, {self.rows:,} rows, nats per datum"
        return "\n".join([about, *(f"  {sentence}" for sentence in self.verdict.sentences)])


def verdict(answers: Mapping[str, Answer], *, beta: float = 1.0, status: str = "") -> Verdict:
    """Rank the findings of all answers.

    Args:
        answers: answers by question.
        beta: the weight of the KL in the fit.
        status: status of the fit in ``summary.json``.
    """
    everything = answers.values()
    deficits = _ranked(d for a in everything for d in a.deficits)
    seen = symptoms(everything, beta=beta, status=status)
    wrong = _wrong(deficits, seen)
    unimportant = [_finding(d, _unimportance(d)) for d in deficits if not d.is_significant]
    sentences = [each.sentence for each in wrong[:SAID]]
    if deficits and not wrong:
        small = f"each is within noise, or not above {LEAST:g} nats"
        sentences = [f"None of the measured deficits counts: {small}."]
    sentences += [sentence for answer in everything for sentence in answer.sentences(everything)]
    sentences += _refused(answers)
    if not sentences:
        sentences = ["The questions asked lead to no verdict."]
    return Verdict((*wrong, *unimportant), tuple(deficits), tuple(sentences))


def _ranked(deficits: Iterable[Deficit]) -> list[Deficit]:
    """One deficit per part, the largest first: with joint training, if that was measured."""
    of_part: dict[str, Deficit] = {}
    for each in deficits:
        known = of_part.get(each.part)
        if known is None or (known.along is None and each.along is not None):
            of_part[each.part] = each
    # NaN comes last.
    finite, others = (
        [each for each in of_part.values() if math.isfinite(each.nats) == wanted]
        for wanted in (True, False)
    )
    return [*sorted(finite, key=lambda each: -each.nats), *others]


def _wrong(deficits: Sequence[Deficit], seen: Sequence[Symptom]) -> list[Finding]:
    """The significant findings: the cause of the symptoms first.

    What only other data can mend is a finding of its own.
    """
    significant = [each for each in deficits if each.is_significant]
    blamed = _blamed(significant, seen)
    others = [_finding(each, "Next") for each in significant if each is not blamed]
    if blamed is None:
        return [*map(_alone, seen), *others]
    of_data = [_alone(symptom) for symptom in seen if symptom.is_of_data]
    first = _finding(blamed, _opening(blamed, [each for each in seen if not each.is_of_data]))
    return [*of_data, first, *others] if seen and seen[0].is_of_data else [first, *of_data, *others]


def _opening(blamed: Deficit, seen: Sequence[Symptom]) -> str:
    """The symptoms, and whether the part explains one: one that points elsewhere it does not."""
    if not seen:
        return LARGEST
    clauses = "; ".join(symptom.clause for symptom in seen)
    explains = any(not each.blames or each.blames in blamed.part for each in seen)
    link = "the deficit to blame" if explains else f"{LARGEST[:1].lower()}{LARGEST[1:]}"
    return f"{clauses[:1].upper()}{clauses[1:]}; {link}"


def _blamed(significant: Sequence[Deficit], seen: Sequence[Symptom]) -> Deficit | None:
    """The part to blame: that of a symptom, or the one of the largest gain."""
    for symptom in seen:
        pointed = [each for each in significant if symptom.blames and symptom.blames in each.part]
        if pointed and (symptom.is_decisive or pointed[0].nats >= COMPARABLE * significant[0].nats):
            return pointed[0]
        if symptom.is_decisive:
            return None
    return _largest(significant) if significant else None


def _largest(significant: Sequence[Deficit]) -> Deficit:
    """The largest deficit; of several about as large, the largest with the others held fixed.

    In joint training one part may do the work of another: a decoder can rotate the latents until a
    diagonal guide fits. The part that gains with the others held fixed is at fault.
    """
    top = significant[0]
    if top.held is None:
        return top
    near = [each for each in significant if each.nats >= ALIKE * top.nats]
    return max(near, key=lambda each: -math.inf if each.held is None else each.held.mean)


def _finding(deficit: Deficit, opening: str) -> Finding:
    size = plus_minus(deficit.nats, deficit.error)
    how = "" if deficit.held is None or deficit.along is not None else ", others held fixed"
    change = f" Change: {deficit.remedy}." if deficit.is_significant else ""
    sentence = f"{opening}: {deficit.part}, {size} nats{how}.{change}"
    return Finding(deficit.part, deficit.nats, deficit.error, sentence)


def _unimportance(deficit: Deficit) -> str:
    return "Not significant" if is_noise(deficit.nats, deficit.error) else "Too small to count"


def _alone(symptom: Symptom) -> Finding:
    """A symptom that no measured part explains."""
    sentence = f"{as_sentence(symptom.clause)} Change: {symptom.remedy}."
    return Finding(symptom.blames or symptom.name, symptom.nats, symptom.error, sentence)


def _refused(answers: Mapping[str, Answer]) -> list[str]:
    """Questions without an answer."""
    names = [name for answer in answers.values() for name in answer.refusals]
    listed = ", ".join(dict.fromkeys(names))
    return [f"Not answered, for the reasons given: {listed}."] if names else []
