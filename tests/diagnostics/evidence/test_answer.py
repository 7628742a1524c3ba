"""The answer on log p(x), and its statements about estimates."""

from dataclasses import replace

import pytest
import torch

from ppvae.diagnostics.evidence.annealing import Annealed
from ppvae.diagnostics.evidence.answer import EvidenceAnswer
from ppvae.diagnostics.evidence.curve import Rise
from ppvae.diagnostics.evidence.importance_sampling import Evidence
from ppvae.diagnostics.evidence.sandwich import Sandwich

ROWS = 50
NONE = torch.zeros(0)


@pytest.fixture
def answer() -> EvidenceAnswer:
    """1,000 samples per datum miss 3 nats, 5,000 miss one; annealing finds all."""
    log_p = torch.randn(ROWS, generator=torch.Generator().manual_seed(0)).double()
    sampled = Evidence(log_p - 3, NONE, log_p - 9, 1000)
    further = Rise(5000, log_p[:20] - 1, torch.full((20,), 2.0).double())
    annealed = Annealed(log_p[:10] + 0.01 * log_p[:10], NONE, NONE, NONE, NONE, NONE, 8)
    return EvidenceAnswer({}, "log p(x)", None, sampled, None, 20, further, annealed, "guide", None)


def test_no_nats_are_told_twice(answer: EvidenceAnswer) -> None:
    """The gain of more samples is part of the headline."""
    assert answer.log_p is not None
    assert answer.missed is not None
    assert answer.sampled is not None
    assert answer.log_p.mean == pytest.approx(float(answer.sampled.log_p.mean()) + 2)
    assert answer.missed.mean == pytest.approx(1, abs=0.02)
    assert answer.metrics["annealed_less_importance_sampled"]["samples"] == 5000
    assert "  minus importance sampled, K = 5,000" in [name for name, _, _ in answer.rows]
    (sentence,) = [s for s in answer.sentences([]) if "misses" in s]
    assert sentence.startswith("Importance sampling with K = 5,000 misses 1.0")


def test_without_further_samples_the_ones_there_are_miss_the_nats(answer: EvidenceAnswer) -> None:
    answer = replace(answer, further=None)
    assert answer.missed is not None
    assert answer.missed.mean == pytest.approx(3, abs=0.02)
    assert "  minus importance sampled, K = 1,000" in [name for name, _, _ in answer.rows]


@pytest.mark.parametrize(
    ("gap", "said"), [(0.0, "agree within noise"), (0.03, "agree closely"), (0.1, "inaccurate")]
)
def test_bounds_that_differ_by_little_agree_closely_and_not_within_noise(
    answer: EvidenceAnswer, gap: float, said: str
) -> None:
    lower = torch.zeros(ROWS)
    upper = lower + gap + 1e-3 * torch.linspace(-1, 1, ROWS)
    both = replace(answer, sandwich=Sandwich(lower, upper, NONE, NONE, NONE, 8))
    assert said in both.sentences([])[-1]
