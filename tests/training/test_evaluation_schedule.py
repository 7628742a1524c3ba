"""The evaluation schedule: at most a tenth of the training time, by sizes."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from ppvae.errors import InputError
from ppvae.training.evaluation_schedule import (
    FEWEST,
    LEAST,
    NUMBERS,
    SHARE,
    EvaluationSchedule,
    allowance,
    draws_for,
    evaluated_batch,
    evaluation_seconds,
    schedule_for,
    training_seconds,
)
from ppvae.training.sizes import Sizes

DIGITS = Sizes(train=1437, valid=180, batch=64, numbers=64, parameters=236_504, work=470_000)
MNIST = Sizes(
    train=50_000, valid=10_000, batch=128, numbers=784, parameters=652_824, work=1_300_000
)

GRID = [
    Sizes(train, valid, batch, 784, parameters, work)
    for train, valid, batch, parameters, work in itertools.product(
        (100, 1_437, 50_000, 10**6), (10, 180, 10_000), (16, 128), (10**3, 10**7), (10**3, 10**9)
    )
]
MANY = 10_000
"""Numbers of epochs for which only the rule matters."""


@pytest.mark.parametrize("sizes", GRID)
def test_evaluation_takes_a_tenth_of_training_at_most(sizes: Sizes) -> None:
    """By the cost model, for long fits, without fewer evaluations than necessary."""
    schedule = schedule_for(sizes, MANY)
    cost = evaluation_seconds(sizes, schedule.rows)
    budget = allowance(sizes)
    assert budget < SHARE * training_seconds(sizes)
    assert cost <= schedule.every * budget or schedule.every == MANY // LEAST
    assert schedule.every == 1 or cost > (schedule.every - 1) * budget
    if schedule.rows < sizes.valid:
        assert evaluation_seconds(sizes, schedule.rows + 1) > budget
        assert schedule.rows >= FEWEST
    assert schedule.rows == sizes.valid or schedule.every == 1 or schedule.rows == FEWEST
    assert schedule == schedule_for(replace(sizes), MANY)


@pytest.mark.parametrize("sizes", GRID)
def test_longer_epochs_are_evaluated_no_less(sizes: Sizes) -> None:
    schedule = schedule_for(sizes, MANY)
    longer = schedule_for(replace(sizes, train=2 * sizes.train), MANY)
    assert longer.every <= schedule.every
    assert longer.rows >= schedule.rows


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 99, 100, MANY])
def test_a_fit_has_ten_evaluations_where_it_has_ten_epochs(epochs: int) -> None:
    tiny = Sizes(train=72, valid=9, batch=32, numbers=3, parameters=200, work=400)
    schedule = schedule_for(tiny, epochs)
    due = [epoch for epoch in range(1, epochs + 1) if schedule.is_due(epoch, epochs)]
    assert len(due) >= min(epochs, LEAST)
    assert due[-1] == epochs


def test_the_rule_on_known_data() -> None:
    assert schedule_for(DIGITS, 100) == EvaluationSchedule(10, 180, 12, 4096)
    assert schedule_for(MNIST, 100) == EvaluationSchedule(1, 10_000, 1, 2674)
    assert schedule_for(DIGITS, 100, patience=10).every == 3  # patience sees three of them
    assert schedule_for(DIGITS, 100, patience=1).every == 1
    assert schedule_for(DIGITS, 100, every=20).every == 20


def test_a_batch_is_bounded_by_memory_and_no_smaller_than_in_training() -> None:
    for batch, numbers in itertools.product((1, 64, 10_000), (1, 784, 10**7)):
        rows = evaluated_batch(batch, numbers)
        assert rows >= batch
        assert rows == batch or rows * numbers <= NUMBERS


def test_rows_are_drawn_for_often_enough() -> None:
    assert [draws_for(rows, 2_000) for rows in (1, 180, 1_999, 2_000, 10_000)] == [
        2000,
        12,
        2,
        1,
        1,
    ]


def test_some_rows_are_the_same_ones_each_time() -> None:
    schedule = EvaluationSchedule(1, 30, 1, 10)
    rows = schedule.chosen(100, seed=1)
    assert len(set(rows.tolist())) == 30
    assert torch.equal(rows, schedule.chosen(100, seed=1))
    assert not torch.equal(rows, schedule.chosen(100, seed=2))
    assert torch.equal(schedule.chosen(30, seed=1), torch.arange(30))


@pytest.mark.parametrize(
    "damaged", [None, {}, {"every": 0, "rows": 9, "draws": 1, "batch_size": 64}, {"every": 1}]
)
def test_a_damaged_schedule_is_refused(damaged: Any) -> None:
    with pytest.raises(InputError, match="evaluation is"):
        EvaluationSchedule.read(damaged, 9)
