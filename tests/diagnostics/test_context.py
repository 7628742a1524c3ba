"""Laws of the context of questions: examined rows, and rows that select."""

from dataclasses import replace
from typing import Any

import torch

from ppvae.data import as_split
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.effort import QUICK

ROWS = torch.arange(60.0)[:, None]


def context(name: str) -> Context:
    """Test data are 0 to 29, valid data 30 to 59."""
    nothing: Any = None
    test, valid = as_split(ROWS[:30]), as_split(ROWS[30:])
    made = Context(
        run=nothing, pair=nothing, audit=nothing, data=test, data_name="test", is_own=True,
        train=None, climbed=None, choosing=valid, effort=QUICK, seed=0,
        device=torch.device("cpu"), progress=nothing,
    )  # fmt: skip
    return made if name == "test" else replace(made, data=valid, data_name="valid")


def rows(name: str, count: int = 100) -> tuple[set[float], set[float]]:
    parts = context(name).gaining_and_choosing(count)
    assert parts is not None
    gain, choose = ({*part.take(torch.arange(len(part)))["x"].flatten().tolist()} for part in parts)
    return gain, choose


def test_valid_data_choose_among_weights_and_test_data_never_do() -> None:
    gain, choose = rows("test")
    assert (gain, choose) == ({*range(30)}, {*range(30, 60)})


def test_of_valid_data_that_are_examined_one_half_chooses_for_the_other() -> None:
    gain, choose = rows("valid")
    assert len(gain) == len(choose) == 15
    assert gain | choose == {*range(30, 60)}
    assert [len(part) for part in rows("valid", 4)] == [4, 4]
    assert replace(context("valid"), choosing=None).gaining_and_choosing(4) is None
