"""The loss budget: each loss with its number, the largest on top."""

import numpy as np

from ppvae import plots
from ppvae.plots.text import measured
from tests.support.drawings import LOSSES, NAN, NATS, bars, said, ticks


def test_a_budget_has_the_largest_loss_on_top_and_each_number_written() -> None:
    (axes,) = plots.budget(LOSSES).axes
    ordered = sorted(LOSSES, key=lambda row: -row[1])
    assert bars(axes) == [(0.0, value) for _, value, _ in ordered]
    assert ticks(axes, "y") == [name for name, _, _ in ordered]
    assert said(axes) == [measured(value, error) for _, value, error in ordered]
    assert axes.get_xlabel() == NATS
    low, high = axes.get_ylim()
    assert low > high  # the first row is the uppermost
    spans = [c[2][0].get_segments()[0][:, 0] for c in axes.containers if len(c) == 3]
    with_error = [(v - e, v + e) for _, v, e in ordered if e is not None]
    np.testing.assert_allclose(spans, with_error)


def test_a_budget_can_keep_its_order_and_names_what_is_not_finite() -> None:
    rows = [("lost", NAN, None), ("small", 0.1, None), ("large", 2.0, 0.1)]
    (kept,) = plots.budget(rows, largest_first=False).axes
    assert ticks(kept, "y") == ["lost", "small", "large"]
    assert bars(kept) == [(0.0, 0.1), (0.0, 2.0)]
    assert said(kept)[0] == "not finite"
    assert ticks(plots.budget(rows).axes[0], "y") == ["large", "small", "lost"]
