"""Laws of the verdict: the worst first, the right part to blame, nothing within noise."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ppvae.diagnostics.answer import Answer, Deficit
from ppvae.diagnostics.baselines.answer import BaselinesAnswer
from ppvae.diagnostics.baselines.comparison import Baselines, Comparison
from ppvae.diagnostics.bound.activity import Activity
from ppvae.diagnostics.bound.answer import BoundAnswer
from ppvae.diagnostics.bound.prior_gain import PriorGain
from ppvae.diagnostics.deficits.answer import DeficitsAnswer
from ppvae.diagnostics.evidence.annealing import Annealed
from ppvae.diagnostics.evidence.answer import EvidenceAnswer
from ppvae.diagnostics.gap.answer import GapAnswer
from ppvae.diagnostics.gap.gaps import Gap, Gaps
from ppvae.diagnostics.model.answer import ModelAnswer
from ppvae.diagnostics.model.predictive import PositiveColumn, Predictive, Replicated
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.training.answer import TrainingAnswer
from ppvae.diagnostics.training.overfitting import Overfitting
from ppvae.diagnostics.trust.answer import TrustAnswer
from ppvae.diagnostics.trust.pareto_k import Reliability
from ppvae.diagnostics.verdict import Verdict, verdict


@dataclass(frozen=True)
class Lost(Answer):
    """An answer with deficits only."""

    lost: tuple[Deficit, ...]

    question = "What is lost?"
    rows = pictures = ()

    @property
    def metrics(self) -> dict[str, Any]:
        return {}

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        return self.lost

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        return ()


DECODER = Deficit("decoder", 4.6, 0.2, "a wider one (`decoder.hidden`)")
LIKELIHOOD = Deficit("likelihood", 3.0, 0.2, "`likelihood='StudentT'`")
BETA = Deficit("beta", 2.0, 0.2, "`beta=1`")
NOISE = Deficit("prior", 0.1, 0.2, "`prior='VampPrior'`")


def verdict_of(
    *deficits: Deficit, others: tuple[Answer, ...] = (), beta: float = 1.0, status: str = ""
) -> Verdict:
    answers = {str(i): each for i, each in enumerate((Lost({}, deficits), *others))}
    return verdict(answers, beta=beta, status=status)


def behind(difference: float, error: float = 0.1) -> BaselinesAnswer:
    """A fit with a given lead over a baseline."""
    compared = Comparison(
        "mixture", "mixture of 80 Bernoullis", "probability", Estimate(-22.0, 0.2),
        Estimate(difference, error), 180,
    )  # fmt: skip
    return BaselinesAnswer({}, "log p(x)", Baselines("log p(x)", {"mixture": compared}, {}))


def collapse(*sites: str) -> BoundAnswer:
    flat = {"z": torch.zeros(3)}
    return BoundAnswer({}, None, Activity(flat, flat, (), 100, sites), None, None, False)


def predictive(name: str, observed: float, mean: float, spread: float) -> ModelAnswer:
    replicated = mean + spread * torch.linspace(-1, 1, 40, dtype=torch.float64)
    statistics = {
        "mean": Replicated(1.0, torch.linspace(0, 2, 40)), name: Replicated(observed, replicated)
    }  # fmt: skip
    return ModelAnswer({}, Predictive("prior", statistics, 500))


def test_the_largest_deficit_comes_first_with_its_remedy() -> None:
    found = verdict_of(LIKELIHOOD, DECODER, NOISE)
    assert [each.part for each in found.findings] == ["decoder", "likelihood", "prior"]
    assert [deficit.nats for deficit in found.deficits] == [4.6, 3.0, 0.1]
    assert found.sentences == (
        "The largest deficit measured: decoder, 4.60 +- 0.20 nats. "
        "Change: a wider one (`decoder.hidden`).",
        "Next: likelihood, 3.00 +- 0.20 nats. Change: `likelihood='StudentT'`.",
    )
    assert (found.findings[0].nats, found.findings[0].error) == (4.6, 0.2)
    assert found.findings[2].sentence == "Not significant: prior, 0.10 +- 0.20 nats."


def test_of_deficits_about_as_large_the_one_to_blame_wins_most_by_itself() -> None:
    def deficit(part: str, nats: float, held: float | None) -> Deficit:
        return Deficit(part, nats, 0.1, "", held=None if held is None else Estimate(held, 0.1))

    decoder, guide = deficit("decoder", 4.2, 0.3), deficit("guide", 3.8, 3.7)
    assert verdict_of(decoder, guide).findings[0].part == "guide"
    assert verdict_of(decoder, deficit("guide", 3.0, 3.7)).findings[0].part == "decoder"
    more = deficit("optimization", 4.3, None)  # without a replaced part, none is fixed
    assert verdict_of(decoder, guide, more).findings[0].part == "optimization"
    assert verdict_of(decoder, deficit("beta", 4.0, None)).findings[0].part == "decoder"


def gap_answer(*, is_climbed: bool = True, climb: Tensor | None = None) -> GapAnswer:
    """Gaps of 1 nat each."""
    zero, gap = torch.zeros(100), Gap(torch.ones(100), torch.zeros(100))
    climb = torch.zeros(32) if climb is None else climb
    found = Gaps(zero, zero, zero, zero, zero, zero, gap, gap, gap, "parameters", "given", climb, 8)
    return GapAnswer({}, "log p(x)", found, is_climbed)


def gained(*, is_climbed: bool = True) -> BoundAnswer:
    """A better prior gains 2 nats."""
    gain = PriorGain(torch.full((100,), 2.0), 10, {}, 1000, 4)
    return BoundAnswer({}, None, None, None, gain, False, is_climbed)


def overfitted(*, is_own: bool = True) -> TrainingAnswer:
    """Training data have 6 nats more."""
    by = Estimate(6.0, 0.2)
    found = Overfitting(is_own, by, Estimate(0.0, 0.2), by, 100, 20)
    return TrainingAnswer({}, "log p(x)", None, found)


def test_of_parts_that_were_not_exchanged_the_verdict_has_what_is_known_of_them() -> None:
    """As for user-defined programs, whose parts are unknown."""
    refused = DeficitsAnswer({"deficits": "no decoder"}, "log p(x)", None)
    found = verdict_of(others=(gap_answer(), gained(), overfitted(), refused))
    assert [(each.part, each.nats) for each in found.deficits] == [
        ("overfitting", 3.0), ("prior", 2.0), ("guide", 1.0), ("encoder", 1.0)
    ]  # fmt: skip
    assert all(each.along is None and each.is_significant for each in found.deficits)
    assert "prior, 2.00 +- 0.00 nats, others held fixed." in found.findings[1].sentence
    assert "held" not in found.findings[0].sentence


def test_a_part_that_was_exchanged_is_ranked_by_that_alone() -> None:
    along = Estimate(0.5, 0.1)
    guide = Deficit("guide", 0.5, 0.1, "", held=Estimate(1.0, 0.1), along=along)
    for order in ((Lost({}, (guide,)), gap_answer()), (gap_answer(), Lost({}, (guide,)))):
        found = verdict_of(others=order).deficits
        assert [(each.part, each.nats) for each in found] == [("encoder", 1.0), ("guide", 0.5)]


def test_nats_of_the_elbo_are_not_ranked_beside_those_of_a_bound_that_weighs_draws() -> None:
    found = verdict_of(DECODER, others=(gap_answer(is_climbed=False), gained(is_climbed=False)))
    assert [each.part for each in found.deficits] == ["decoder"]


def test_of_other_data_overfitting_is_no_deficit() -> None:
    assert verdict_of(others=(overfitted(is_own=False),)).deficits == ()


def test_what_is_not_a_number_comes_last() -> None:
    nan = Deficit("guide", math.nan, math.nan, "")
    for order in ((nan, LIKELIHOOD, DECODER), (LIKELIHOOD, nan, DECODER)):
        found = verdict_of(*order)
        assert [each.part for each in found.deficits] == ["decoder", "likelihood", "guide"]
        assert found.findings[0].part == "decoder"


def test_nothing_is_significant_that_noise_could_have_made() -> None:
    found = verdict_of(Deficit("a", 0.5, 0.4, ""), Deficit("b", -1.0, 0.2, ""))
    assert not any(deficit.is_significant for deficit in found.deficits)
    assert found.sentences == (
        "None of the measured deficits counts: each is within noise, or not above 0.05 nats.",
    )
    assert not Deficit("", 0.5, math.nan, "").is_significant
    assert Deficit("", 0.5, 0.2, "").is_significant
    assert not Deficit("", 0.04, None, "").is_significant
    assert verdict_of().sentences == ("The questions asked lead to no verdict.",)


def test_a_deficit_above_noise_that_is_too_small_is_called_so() -> None:
    found = verdict_of(Deficit("encoder", 0.048, 0.01, ""), NOISE)
    assert found.findings[1].sentence == "Too small to count: encoder, 0.05 +- 0.01 nats."
    assert found.findings[0].sentence.startswith("Not significant: prior")
    assert found.sentences[0].startswith("None of the measured deficits counts")


@pytest.mark.parametrize(("annealed", "advice"), [(10, "`samples`"), (150, "the annealed")])
def test_the_annealed_estimate_is_advised_only_where_it_is_of_all_data(
    annealed: int, advice: str
) -> None:
    log_p = torch.zeros(annealed)
    walked = Annealed(log_p, log_p, log_p, log_p, log_p, log_p, 4)
    evidence = EvidenceAnswer({}, "log p(x)", None, None, None, 0, None, walked, "guide", None)
    khat = torch.cat([torch.zeros(75), torch.ones(75)])
    trust = TrustAnswer({}, Reliability(khat, khat, khat, khat, 1000), None, None, None)
    (said,) = trust.sentences((evidence, trust))
    assert "50% of the data; for the others" in said
    assert advice in said
    assert ("annealed" in said) == (annealed == 150)


def test_a_baseline_that_is_better_comes_first_and_the_largest_deficit_is_to_blame() -> None:
    (first, *_) = verdict_of(DECODER, LIKELIHOOD, others=(behind(-5.0),)).findings
    assert (first.part, first.nats, first.error) == ("decoder", 4.6, 0.2)
    assert first.sentence.startswith(
        "The fit is 5.00 +- 0.10 nats worse than a simple model (mixture of 80 Bernoullis); the "
        "deficit to blame: decoder, 4.60 +- 0.20 nats."
    )
    (alone, *_) = verdict_of(NOISE, others=(behind(-5.0),)).findings
    assert (alone.part, alone.nats, alone.error) == ("baseline", 5.0, 0.1)
    assert "Change:" in alone.sentence
    for ahead in (behind(1.0), behind(-0.1)):
        assert verdict_of(DECODER, others=(ahead,)).sentences[0].startswith("The largest deficit")


def test_a_collapse_under_a_heavy_kl_is_blamed_on_beta_whatever_else_would_win() -> None:
    (first, *_) = verdict_of(DECODER, BETA, others=(collapse("z"),), beta=30.0).findings
    assert (first.part, first.nats) == ("beta", 2.0)
    assert first.sentence.startswith("The posterior has collapsed, under beta = 30")
    assert "Change: `beta=1`." in first.sentence
    (unmeasured, *_) = verdict_of(DECODER, others=(collapse("z"),), beta=30.0).findings
    assert (unmeasured.part, unmeasured.nats) == ("beta", None)
    assert "a smaller `beta`" in unmeasured.sentence


def test_another_collapse_is_blamed_on_the_largest_deficit_or_told_alone() -> None:
    (first, *_) = verdict_of(DECODER, others=(collapse("z"),)).findings
    assert first.part == "decoder"
    assert first.sentence.startswith("The posterior has collapsed; the deficit to blame")
    (alone,) = verdict_of(others=(collapse("z"),)).findings
    assert alone.part == "collapse"
    assert "`warm_up`" in alone.sentence
    assert verdict_of(DECODER, others=(collapse(),)).sentences[0].startswith("The largest deficit")


def test_a_fit_that_diverged_says_so_before_all_else() -> None:
    lr = Deficit("optimization", 1.0, 0.1, "a smaller `lr`")
    (first, *_) = verdict_of(DECODER, lr, others=(behind(-9.0),), status="diverged").findings
    assert first.part == "optimization"
    assert first.sentence.startswith("The fit diverged; the fit is 9.00 +- 0.10 nats worse than")
    (alone, *_) = verdict_of(DECODER, status="diverged").findings
    assert alone.part == "optimization"
    assert "a smaller `lr`" in alone.sentence


def test_a_fit_that_was_still_climbing_points_to_the_optimization() -> None:
    more = Deficit("optimization", 3.0, 0.1, "more `epochs`")
    (first, *_) = verdict_of(DECODER, more, status="climbing").findings
    assert first.part == "optimization"
    assert "when it ended; the deficit to blame: optimization" in first.sentence
    (other, *_) = verdict_of(DECODER, status="climbing").findings
    assert other.part == "decoder"
    assert other.sentence.startswith(  # a decoder does not explain an early end
        "The fit was still climbing when it ended; the largest deficit measured: decoder, 4.60"
    )
    (alone,) = verdict_of(status="climbing").findings
    assert (alone.part, alone.nats) == ("optimization", None)


@pytest.mark.parametrize(
    ("check", "blames"),
    [
        (predictive("share of zeros", 0.57, 0.0, 0.0), "likelihood"),
        (predictive("share of zeros", 0.57, 0.55, 0.001), "decoder"),  # significant, but small
        (predictive("share of zeros", 0.57, 0.2, 0.5), "decoder"),  # within noise
        (predictive("largest", 60.0, 4.0, 0.5), "likelihood"),
        (predictive("smallest", -60.0, -4.0, 0.5), "likelihood"),
        (predictive("largest", 6.0, 4.0, 0.2), "decoder"),
        (predictive("mean", 60.0, 4.0, 0.5), "decoder"),  # not a sign of a wrong likelihood
    ],
)
def test_a_gross_failure_of_a_predictive_check_says_likelihood(
    check: ModelAnswer, blames: str
) -> None:
    (first, *_) = verdict_of(DECODER, LIKELIHOOD, others=(check,)).findings
    assert first.part == blames
    assert ("the deficit to blame" in first.sentence) == (blames == "likelihood")


def negative(*shares: float, skewness: float = 4.7, has_all_rows: bool = True) -> ModelAnswer:
    """A model that draws negative values of skewed columns that have none."""
    spread = torch.linspace(-1, 1, 40, dtype=torch.float64)
    skewed = Replicated(skewness, 2.7 + 0.5 * spread)
    columns = tuple(
        PositiveColumn(f"c{place}", Replicated(0.0, share + 0.01 * spread), skewed)
        for place, share in enumerate(shares)
    )
    return ModelAnswer({}, Predictive("prior", {}, 500, columns), has_all_rows)


def test_negative_draws_of_a_skewed_column_are_said_with_the_way_out() -> None:
    told = (
        "The model draws values below 0 in a column that has none in the data: 8% of c0. Change: "
        "take the logarithm of c0 before the fit (if there are zeros, add the smallest positive "
        "value first)."
    )
    for deficits in ((), (NOISE,), (LIKELIHOOD,)):  # no likelihood of the raw column mends it
        found = verdict_of(*deficits, others=(negative(0.08),))
        assert found.sentences[0] == told
        assert (found.findings[0].part, found.findings[0].nats) == ("negative draws", None)
    assert found.findings[1].sentence.startswith("The largest deficit measured: likelihood")
    worse = verdict_of(LIKELIHOOD, others=(negative(0.08), behind(-5.0))).findings
    assert [each.part for each in worse] == ["likelihood", "negative draws"]
    assert worse[0].sentence.startswith("The fit is 5.00 +- 0.10 nats worse than a simple model")
    (only, *_) = verdict_of(others=(negative(0.08, has_all_rows=False),)).sentences
    assert "that has none in these rows: 8% of c0." in only


@pytest.mark.parametrize(("count", "others"), [(4, "1 more column"), (5, "2 more columns")])
def test_of_many_columns_with_negative_draws_the_worst_are_named(count: int, others: str) -> None:
    said = verdict_of(others=(negative(*[0.1, 0.09, 0.08, 0.07, 0.06][:count]),)).sentences[0]
    assert said.startswith(
        "The model draws values below 0 in columns that have none in the data: 10% of c0, 9% of "
        f"c1, 8% of c2 and some of {others}. Change: take the logarithm of c0, c1, c2 and {others} "
    )


@pytest.mark.parametrize("harmless", [negative(0.005), negative(0.08, skewness=2.8)])
def test_few_negative_draws_or_the_right_skewness_are_harmless(harmless: ModelAnswer) -> None:
    assert verdict_of(DECODER, others=(harmless,)).findings[0].part == "decoder"


def test_a_check_that_fails_is_no_match_for_a_deficit_that_is_much_larger() -> None:
    """A decoder too small for the range of the data fails the check as well."""
    small = Deficit("likelihood", 1.0, 0.1, "")
    found = verdict_of(DECODER, small, others=(predictive("largest", 60.0, 4.0, 0.5),))
    assert found.findings[0].part == "decoder"
    # Zeros that a density lacks do not decide: images have a background.
    found = verdict_of(DECODER, small, others=(predictive("share of zeros", 0.57, 0.0, 0.0),))
    assert found.findings[0].part == "decoder"
    (alone, *_) = verdict_of(others=(predictive("share of zeros", 0.57, 0.0, 0.0),)).findings
    assert (alone.part, alone.nats) == ("likelihood", None)


def test_zeros_under_a_density_are_no_symptom_once_no_other_likelihood_wins() -> None:
    check = predictive("share of zeros", 0.57, 0.0, 0.0)
    nothing = Deficit("likelihood", 0.01, 0.1, "")
    (only,) = verdict_of(nothing, others=(check,)).findings
    assert only.sentence.startswith("Not significant")
    (first, _) = verdict_of(DECODER, nothing, others=(check,)).findings
    assert first.sentence.startswith("The largest deficit")
    # A likelihood of counts with too few zeros is not a density.
    few = predictive("share of zeros", 0.57, 0.1, 0.001)
    assert "0.57" in verdict_of(nothing, others=(few,)).findings[0].sentence


def test_what_was_not_answered_is_named_last() -> None:
    refused = Lost({"calibration": "no plate", "NUTS": "no k-hat"}, ())
    said = verdict({"trust": refused}).sentences
    assert said == ("Not answered, for the reasons given: calibration, NUTS.",)


def test_a_search_that_was_still_climbing_is_no_clean_answer() -> None:
    still = torch.cat([torch.zeros(28), torch.full((4,), 0.4)])
    assert any("still gaining 0.40 nats" in s for s in gap_answer(climb=still).sentences(()))
    assert not any("still" in s for s in gap_answer().sentences(()))
