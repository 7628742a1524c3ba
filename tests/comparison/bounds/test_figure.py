"""Figure of two bounds: values in their units, and the noise of each group of parameters."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from ppvae.comparison.bounds.figure import draw_comparison, draw_glance
from ppvae.errors import InputError
from tests.support.drawings import bars, legend, panel, summary

BOTH = {"Trace_ELBO": summary(0), "TraceMeanField_ELBO": summary(1)}


def test_bounds_are_compared_in_their_units() -> None:
    figure = draw_comparison(BOTH)
    assert legend(figure) == list(BOTH)
    units = {a.get_title(loc="left"): a.get_xlabel() for a in figure.axes}
    assert units == {
        "Estimates, same weights": "nats per datum\nmean ± sd",
        "Cost": "ms per step",
        "Held out, by seed": "nats per datum\nmean ± se",
        "Gradient SNR": "|mean| / sd",
    }
    cost = [width for _, width in bars(panel(figure, "Cost"))]
    assert cost == [5.0, 6.0]


def test_a_glance_is_of_noise_and_climb() -> None:
    figure = draw_glance(BOTH)
    assert legend(figure) == list(BOTH)
    variance, climb = figure.axes
    assert (variance.get_xlabel(), climb.get_xlabel()) == ("(nats per datum)²", "step")
    assert len(climb.get_lines()) == 6
    # No bars, whose length depends on the limits of a log axis.
    assert variance.get_xscale() == "log"
    assert bars(variance) == []
    assert [t.get_text() for t in variance.get_yticklabels()] == ["encoder", "decoder"]
    dots = sorted(float(np.asarray(line.get_xdata())[0]) for line in variance.get_lines())
    np.testing.assert_allclose(dots, [1e-5, 1e-5, 1e-3, 1e-3])


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
    figure = draw_glance({"exact": {"gradient_variance": {"guide": 0.0, "model": 1e-2}}})
    (axes,) = figure.axes
    assert [t.get_text().strip() for t in axes.texts] == ["0"]
    assert len(axes.get_lines()) == 1


def test_bounds_without_a_figure_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        draw_comparison({"one": {"values": []}, "two": {}})
