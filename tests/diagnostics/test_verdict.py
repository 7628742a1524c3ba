"""Laws of the verdict: the largest deficit first, and none that noise could have made."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.answer import Answer, Deficit
from ppvae.diagnostics.gap.answer import GapAnswer
from ppvae.diagnostics.gap.gaps import Gap, Gaps
from ppvae.diagnostics.verdict import Verdict, verdict


@dataclass(frozen=True)
class Lost(Answer):
    """An answer that has deficits alone."""

    lost: tuple[Deficit, ...]
    has_all: bool = True

    question = "What is lost?"
    rows = pictures = ()

    @property
    def metrics(self) -> dict[str, Any]:
        return {}

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        return self.lost

    @property
    def has_all_deficits(self) -> bool:
        return self.has_all

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        return ()


def verdict_of(*deficits: Deficit, is_whole: bool = False, has_all: bool = True) -> Verdict:
    return verdict({"lost": Lost({}, deficits, has_all)}, is_whole=is_whole)


def test_the_verdict_names_the_largest_deficit_first_and_its_remedy() -> None:
    found = verdict_of(
        Deficit("encoder", 0.5, 0.1, "a larger one"),
        Deficit("guide", 1.5, 0.1, "a richer family"),
        Deficit("prior", 3.0, 0.2, "a learned prior"),
    )
    assert [deficit.nats for deficit in found.deficits] == [3.0, 1.5, 0.5]
    assert found.sentences == (
        "The largest deficit measured: prior, 3.00 nats. Change: a learned prior.",
        "Next: guide, 1.50 nats. Change: a richer family.",
    )


def test_the_verdict_calls_nothing_significant_that_noise_could_have_made() -> None:
    found = verdict_of(Deficit("a", 0.5, 0.4, ""), Deficit("b", -1.0, 0.2, ""))
    assert not any(deficit.is_significant for deficit in found.deficits)
    assert found.sentences == ("Of the deficits that were measured, none is significant.",)
    assert not Deficit("", 0.5, math.nan, "").is_significant
    assert Deficit("", 0.5, 0.2, "").is_significant
    assert not Deficit("", 0.04, None, "").is_significant


def test_only_a_whole_diagnosis_says_that_nothing_else_is_to_be_gained() -> None:
    small = Deficit("a", 0.01, 0.1, "")
    (whole,) = verdict_of(small, is_whole=True).sentences
    assert "another decoder" in whole
    for found in (verdict_of(small), verdict_of(small, is_whole=True, has_all=False)):
        assert "another decoder" not in found.sentences[0]
    assert verdict_of().sentences == ("No question was asked that has a verdict.",)


def test_what_was_not_answered_is_named_last() -> None:
    refused = Lost({"calibration": "no plate", "NUTS": "no k-hat"}, ())
    said = verdict({"trust": refused}, is_whole=True).sentences
    assert said == ("Not answered, for the reasons given: calibration, NUTS.",)


def test_a_search_that_was_still_climbing_is_no_clean_answer() -> None:
    def answer(climb: Tensor) -> GapAnswer:
        zero, gap = torch.zeros(100), Gap(torch.ones(100), torch.zeros(100))
        found = Gaps(
            zero, zero, zero, zero, zero, zero, gap, gap, gap, "parameters", "given", climb, 8
        )
        return GapAnswer({}, "log p(x)", found, False)

    still = torch.cat([torch.zeros(28), torch.full((4,), 0.4)])
    assert any("still gaining 0.40 nats" in s for s in answer(still).sentences(()))
    assert not any("still" in s for s in answer(torch.zeros(32)).sentences(()))
