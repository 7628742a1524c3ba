"""The forest plot: positions of means, lengths of errors, and no mention of LOO."""

import numpy as np
import torch
from matplotlib.text import Text

from ppvae.comparison.held_out.figure import alt_text, draw_runs
from tests.comparison.held_out.test_statistics import compared


def test_means_errors_and_seeds_are_where_they_are() -> None:
    x = torch.linspace(-3, 0, 50, dtype=torch.float64)
    rows = compared([x, x + 0.2], [x - 1])
    figure = draw_runs(rows)
    left, right = figure.axes
    for axes, values in (
        (left, [row.log_p for row in rows]), (right, [row.difference for row in rows])
    ):  # fmt: skip
        for container, value in zip(axes.containers, values, strict=True):
            line, _, spans = container
            np.testing.assert_allclose(np.asarray(line.get_xdata(), dtype=float), [value.mean])
            if value.error:
                (segment,) = spans[0].get_segments()
                ends = [value.mean - value.error, value.mean + value.error]
                np.testing.assert_allclose(segment[:, 0], ends)
    (seeds,) = left.collections[-1:]
    places = np.asarray(seeds.get_offsets(), dtype=float)[:, 0]
    np.testing.assert_allclose(places, [float(x.mean()), float(x.mean()) + 0.2])
    assert left.get_xlabel() == right.get_xlabel() == "nats per datum"
    words = [str(t.get_text()) for t in figure.findobj(Text) if isinstance(t, Text)]
    assert "Held-out log p(x), higher is better" in words
    assert "loo" not in " ".join([*words, alt_text(rows, "log p(x)")]).lower()
