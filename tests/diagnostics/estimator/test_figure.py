"""The figure of gradient estimators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ppvae.diagnostics.estimator.figure import draw_estimators
from tests.support.drawings import INF, NATS, colours, legend, noise_of_estimators, panel


def test_an_estimator_has_one_colour_in_all_panels() -> None:
    rows = noise_of_estimators()
    figure = draw_estimators(rows[::-1])
    names = legend(figure)
    assert names == ["PathELBO", "TraceMeanField_ELBO", "Trace_ELBO"]
    drawn = colours(figure)
    assert len(set(drawn)) == 3
    fields: dict[str, Callable[[dict[str, Any]], float]] = {
        "Gradient variance\nguide.encoder": lambda row: float(row["variance"]["guide.encoder"]),
        "Gradient variance\nmodel.decoder": lambda row: float(row["variance"]["model.decoder"]),
        "Gradient SNR\nguide.encoder": lambda row: float(row["snr"]["guide.encoder"]),
        "Cost of a step": lambda row: float(row["relative_cost"]),
        "Value of the bound": lambda row: float(row["value"]),
    }
    for title, field in fields.items():
        axes = panel(figure, title)
        lines = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
        assert [line.get_color() for line in lines] == drawn
        for name, line in zip(names, lines, strict=True):
            mine = [row for row in rows if row["name"] == name]
            np.testing.assert_array_equal(line.get_ydata(), [field(row) for row in mine])
            np.testing.assert_array_equal(line.get_xdata(), [row["particles"] for row in mine])
        assert axes.get_xscale() == "log"
    assert panel(figure, "Gradient variance\nguide").get_ylabel() == f"({NATS})²"
    assert panel(figure, "Value").get_ylabel() == NATS


def test_an_estimator_without_noise_is_at_the_edge_of_the_log_axes() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "exact", "particles": 1, "variance": {"guide": 0.0}, "snr": {"guide": INF}},
        {"name": "noisy", "particles": 1, "variance": {"guide": 2.0}, "snr": {"guide": 0.5}},
    ]
    figure = draw_estimators(rows)
    variance, snr = figure.axes
    assert figure.get_supxlabel() == "▽ 0, △ ∞"
    assert [line.get_marker() for line in variance.get_lines()].count("v") == 1
    assert [line.get_marker() for line in snr.get_lines()].count("^") == 1
    assert variance.get_ylim()[0] < 2.0 < variance.get_ylim()[1]
