"""The measure of log p: a probability, a density, or for a table both."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributions import constraints

from ppvae.comparison.held_out.likeness import measure_of
from ppvae.distributions.grid import Grid
from ppvae.distributions.per_column import columnwise
from ppvae.networks.columns import Column

COLUMNS = [Column("mass", "real"), Column("dives", "count")]


@pytest.mark.parametrize(
    ("support", "measure"),
    [
        (constraints.boolean, "probability"),
        (Grid(256), "probability"),
        (constraints.real, "density"),
        (constraints.independent(constraints.nonnegative_integer, 1), "probability"),
        (
            columnwise([constraints.real, constraints.nonnegative_integer], COLUMNS),
            "probability of dives and density of the rest",
        ),
        (columnwise([constraints.real, constraints.positive], COLUMNS), "density"),
    ],
)
def test_the_measure_is_read_off_the_supports(support: Any, measure: str) -> None:
    audit = SimpleNamespace(supports={"x": ("a family", support)})
    run: Any = SimpleNamespace(audit=audit)
    assert measure_of(run) == measure
