"""Laws of overfitting: the lead of training data over others, by the training bound."""

from typing import Any

import pytest

from ppvae.data import as_split
from ppvae.diagnostics.evidence.importance_sampling import log_evidence
from ppvae.diagnostics.training.overfitting import overfitting
from tests.support.pca import pca


def test_of_a_bound_that_weighs_draws_it_is_in_nats_of_that_bound() -> None:
    known = pca(rows=200, shift=0.5)
    seen, unseen = as_split(known.x[:100]), as_split(known.x[100:])
    common: dict[str, Any] = {"samples": 50, "seed": 3}
    plain = overfitting(known.pair, known.facts, seen, unseen, **common)
    five = overfitting(known.pair, known.facts, seen, unseen, weighed=5, **common)
    one, other = (
        log_evidence(known.pair, known.facts, each, samples=5, seed=3) for each in (seen, unseen)
    )
    assert five.bound.mean == pytest.approx(one.mean - other.mean)
    assert five.log_p == plain.log_p
    # Of a mean over draws, it is the model's and the encoder's together.
    assert plain.bound.mean == pytest.approx(plain.log_p.mean + plain.gap.mean)
    assert five.bound.mean != plain.bound.mean


def test_half_of_it_is_a_deficit_that_no_part_was_trained_along_for() -> None:
    known = pca(rows=200)
    seen, unseen = as_split(known.x[:100]), as_split(known.x[100:] + 3.0)
    found = overfitting(known.pair, known.facts, seen, unseen, samples=5)
    (deficit,) = found.deficits
    assert (deficit.part, deficit.along, deficit.held) == ("overfitting", None, None)
    assert deficit.nats == pytest.approx(found.bound.mean / 2)
    assert deficit.error == pytest.approx(found.bound.standard_error / 2)
    others = overfitting(known.pair, known.facts, seen, unseen, samples=5, is_own=False)
    assert others.deficits == ()
