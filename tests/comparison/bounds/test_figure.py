"""Bounds side by side are in their units, and noise is that of what is named."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from ppvae.comparison.bounds.figure import draw_comparison
from ppvae.errors import InputError
from tests.support.drawings import bars, legend, panel, summary


def test_bounds_are_compared_in_their_units() -> None:
    figure = draw_comparison({"Trace_ELBO": summary(0), "TraceMeanField_ELBO": summary(1)})
    assert legend(figure) == ["Trace_ELBO", "TraceMeanField_ELBO"]
    units = {a.get_title(loc="left"): a.get_xlabel() for a in figure.axes}
    assert units == {
        "Estimates, same weights": "nats per datum\nmean ± sd",
        "Cost": "ms per step",
        "Gradient variance": "(nats per datum)²",
        "Gradient SNR": "|mean| / sd",
        "Bound by step, each seed": "step",
        "Held out, by seed": "nats per datum\nmean ± se",
    }
    variance = panel(figure, "Gradient variance")
    assert variance.get_xscale() == "log"
    assert [t.get_text() for t in variance.get_yticklabels()] == ["encoder", "decoder"]
    ends = sorted(x + width for x, width in bars(variance))
    np.testing.assert_allclose(ends, [1e-5, 1e-5, 1e-3, 1e-3])
    cost = [width for _, width in bars(panel(figure, "Cost"))]
    assert cost == [5.0, 6.0]
    assert len(panel(figure, "Bound by step").get_lines()) == 6


def test_the_spread_is_that_of_the_mean_only_where_it_says_so() -> None:
    figure = draw_comparison({"one": {"values": [1.0, 2.0, 3.0], "held_out": [1.0, 2.0, 3.0]}})
    for title, spread in (("Estimates", 1.0), ("Held out", 1 / np.sqrt(3))):
        (bars,) = panel(figure, title).containers
        (segment,) = bars[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 0], [2 - spread, 2 + spread])


def test_one_number_has_no_spread() -> None:
    (axes,) = draw_comparison({"one": {"values": [-3.0]}}).axes
    (bars,) = axes.containers
    assert isinstance(bars, ErrorbarContainer)
    assert not bars.has_xerr


def test_a_gradient_without_noise_is_a_written_zero() -> None:
    figure = draw_comparison({"exact": {"gradient_variance": {"guide": 0.0, "model": 1e-2}}})
    (axes,) = figure.axes
    assert [t.get_text().strip() for t in axes.texts] == ["0"]
    assert len(axes.patches) == 1


def test_bounds_without_a_figure_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        draw_comparison({"one": {"values": []}, "two": {}})
