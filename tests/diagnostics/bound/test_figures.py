"""Figures of the bound: KL by dimension, and the parts of the KL."""

import numpy as np
from matplotlib.colors import to_rgba

from ppvae import plots
from ppvae.diagnostics.bound.figures import draw_kl_by_dimension, draw_surgery
from tests.support.drawings import KL, NATS, VARIANCE, bars, heights, legend, panel, ticks


def test_dimensions_stand_in_the_order_of_their_kl_in_both_panels() -> None:
    figure = draw_kl_by_dimension(KL, VARIANCE, error=0.1 * KL)
    top, bottom = figure.axes
    order = np.argsort(-KL, kind="stable")
    np.testing.assert_array_equal(heights(top), KL[order])
    assert ticks(bottom, "x") == [str(i) for i in order]
    assert top.get_title(loc="right") == f"sum {KL.sum():.4g}"
    assert (top.get_ylabel(), bottom.get_yscale()) == (NATS, "log")
    points = np.full(len(KL), np.nan)
    for line in bottom.get_lines():
        if line.get_marker() == "o":
            points[np.asarray(line.get_xdata(), dtype=int) - 1] = line.get_ydata()
    np.testing.assert_array_equal(points, VARIANCE[order])
    grey = [to_rgba(p.get_facecolor()) != to_rgba(plots.BLUE) for p in top.patches]
    np.testing.assert_array_equal(grey, VARIANCE[order] <= 0.01)
    assert legend(figure) == ["active: 13", "inactive: 7", "threshold 0.01"]
    (dashed,) = [line for line in bottom.get_lines() if set(np.ravel(line.get_ydata())) == {0.01}]
    assert dashed.is_dashed()


def test_a_dimension_without_variance_is_on_the_log_axis_all_the_same() -> None:
    figure = draw_kl_by_dimension([1.0, 0.0, 0.0], [0.5, 0.0, 1e-5], names=["a", "b", "c"])
    bottom = panel(figure, "Variance")
    assert bottom.get_title(loc="right") == "▽ 0"
    (mark,) = [line for line in bottom.get_lines() if line.get_marker() == "v"]
    assert list(np.ravel(mark.get_xdata())) == [2]
    low, high = bottom.get_ylim()
    assert low <= float(np.ravel(mark.get_ydata())[0]) < 1e-5
    assert high > 0.5


def test_without_variances_there_is_one_panel_and_no_verdict() -> None:
    figure = draw_kl_by_dimension([0.3, 2.0])
    (axes,) = figure.axes
    assert heights(axes) == [2.0, 0.3]
    assert not figure.legends


def test_the_parts_of_the_kl_follow_each_other_to_their_sum() -> None:
    figure = draw_surgery(
        {"mutual information": (3.0, 0.1), "total correlation": (-0.2, None), "rest": (0.5, None)},
        capped=["mutual information"],
    )
    (axes,) = figure.axes
    np.testing.assert_allclose(bars(axes), [(0, 3), (3, -0.2), (2.8, 0.5), (0, 3.3)])
    assert [p.get_hatch() is not None for p in axes.patches] == [True, False, False, False]
    assert figure.get_supxlabel().startswith("hatched")
    assert ticks(axes, "y")[-1] == "KL"
    (told,) = draw_surgery({"mutual information": (3.0, None)}, total=(3.4, 0.1)).axes
    assert bars(told)[-1] == (0.0, 3.4)
