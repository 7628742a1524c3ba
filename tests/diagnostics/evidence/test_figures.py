"""Figures of the evidence: the bound by K, and the sandwich."""

import numpy as np

from ppvae.diagnostics.evidence.figures import draw_bound_curve, draw_sandwich
from ppvae.plots.text import measured
from tests.support.drawings import COUNTS, CURVE, NATS, REFERENCES, heights, legend


def test_the_bound_rises_by_k_below_its_references() -> None:
    figure = draw_bound_curve(
        COUNTS[::-1], CURVE[::-1], np.full(8, 0.07)[::-1], references=REFERENCES
    )
    (axes,) = figure.axes
    curve, *levels = axes.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), COUNTS)
    np.testing.assert_array_equal(curve.get_ydata(), CURVE)
    assert [float(np.ravel(line.get_ydata())[0]) for line in levels] == [-89.4, -86.5, -86.3]
    assert len({line.get_color() for line in axes.get_lines()}) == 4
    assert legend(figure)[1:] == [f"{n}: {measured(*v)}" for n, v in REFERENCES.items()]
    assert (axes.get_xscale(), axes.get_ylabel()) == ("log", NATS)
    assert axes.get_xlabel().startswith("K, importance samples")
    (band,) = [c for c in axes.collections if c.get_paths()]
    edge = np.asarray(band.get_paths()[0].vertices)
    np.testing.assert_allclose(edge[:, 1].max(), max(CURVE) + 0.07)
    low, high = axes.get_ylim()
    assert low < -89.46
    assert high > -86.3


def test_a_sandwich_is_drawn_about_the_truth_and_its_gaps_counted() -> None:
    truth = np.array([-80.0, -120.0, -95.0])
    figure = draw_sandwich(
        truth - np.array([0.1, 0.5, 0.3]), truth + np.array([0.2, 0.1, 0.1]), truth=truth
    )
    left, right = figure.axes
    upper, lower = (line for line in left.get_lines() if line.get_marker() in ("^", "v"))
    np.testing.assert_allclose(np.asarray(upper.get_ydata()), [0.2, 0.1, 0.1])
    np.testing.assert_allclose(np.asarray(lower.get_ydata()), [-0.1, -0.3, -0.5])
    assert left.get_ylabel() == "nats, minus log p(x)"
    assert sum(heights(right)) == 3
    assert right.get_title(loc="left").startswith("mean 0.43")
