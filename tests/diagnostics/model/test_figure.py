"""The figure of posterior predictive checks."""

import numpy as np
from matplotlib.patches import Rectangle

from ppvae.diagnostics.model.figure import draw_predictive
from tests.support.drawings import heights, rng


def test_the_data_are_a_line_among_the_replications() -> None:
    draws = rng().normal(size=90)
    figure = draw_predictive({"mean": 0.4}, {"mean": draws}, {"mean": 0.25})
    (axes,) = figure.axes
    assert sum(heights(axes)) == 90
    (line,) = axes.get_lines()
    assert set(np.ravel(line.get_xdata())) == {0.4}
    assert axes.get_title(loc="left") == "mean"
    assert axes.get_title(loc="right") == "p = 0.25"
    left = min(p.get_x() for p in axes.patches if isinstance(p, Rectangle))
    assert left <= draws.min()
