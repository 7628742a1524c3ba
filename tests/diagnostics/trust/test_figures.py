"""Figures of trust: Pareto k, the posterior against the guide, calibration."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from ppvae import plots
from ppvae.diagnostics.trust.calibration_figure import draw_calibration
from ppvae.diagnostics.trust.chains_figure import draw_posterior_against_guide
from ppvae.diagnostics.trust.pareto_k_figure import draw_reliability
from tests.support.drawings import INF, NAN, chains, legend, ranks, rng


def test_khats_are_counted_in_zones_that_no_bin_crosses() -> None:
    khat = np.array([0.1, 0.69, 0.7, 0.71, 0.99, 1.0, 3.0, NAN, INF, -INF])
    ess = np.linspace(1, 1000, 10)
    figure = draw_reliability(khat, ess, samples=1000, threshold=0.7)
    shapes, effective = figure.axes
    by_colour: dict[tuple[float, ...], float] = {}
    for patch in shapes.patches:
        assert isinstance(patch, Rectangle)
        colour = to_rgba(patch.get_facecolor())
        by_colour[colour] = by_colour.get(colour, 0) + patch.get_height()
        if patch.get_height():
            middle = patch.get_x() + patch.get_width() / 2
            zone = int(middle > 0.7) + int(middle > 1)
            assert colour == to_rgba((plots.BLUE, "#E69F00", plots.VERMILLION)[zone])
    assert list(by_colour.values()) == [2, 3, 2]
    dots = np.concatenate([line.get_xydata() for line in effective.lines])
    np.testing.assert_allclose(dots[dots[:, 0].argsort()], np.c_[ess, np.arange(1, 11) / 10])
    assert shapes.get_title(loc="right") == "not drawn: 1 at \N{MINUS SIGN}∞, 1 at ∞"
    assert legend(figure) == [
        "reliable: below 0.7 (3, 30.0%)",
        "biased: 0.7 to 1 (3, 30.0%)",
        "no mean: from 1 (3, 30.0%)",
        r"no $\hat{k}$ fitted (1, 10.0%)",
        "threshold 0.7",
    ]
    assert effective.get_xscale() == "log"
    assert effective.get_xlabel() == "effective samples, of 1,000"


def test_the_guide_is_two_ellipses_over_the_draws() -> None:
    draws, loc, scale = chains(3)
    figure = draw_posterior_against_guide(draws, loc, scale, names=["z[3]", "z[7]"])
    assert len(figure.axes) == 3
    for i, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), draws[i])
        ellipses = [line for line in axes.get_lines() if len(np.ravel(line.get_xdata())) > 2]
        for radius, line in enumerate(ellipses, start=1):
            away = (np.asarray(line.get_xydata()) - loc[i]) / scale[i]
            np.testing.assert_allclose(np.hypot(*away.T), radius)
    assert figure.axes[0].get_ylabel() == "z[7]"
    assert figure.axes[-1].get_xlabel() == "z[3]"


def test_calibration_shows_joint_quantities_and_then_the_least_likely() -> None:
    pit = ranks(200, 12)
    names = [*(f"z[{i}]" for i in range(11)), "log p(x, z)"]
    p = np.array([0.9, 1e-5, *np.linspace(0.1, 0.8, 8), NAN, 0.7])
    figure = draw_calibration(pit, names, p, joint=["log p(x, z)"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["log p(x, z)", "z[1]", *(f"z[{i}]" for i in range(2, 8))]
    assert figure.axes[1].get_title(loc="right") == "p < 0.001"
    assert figure.get_suptitle().endswith("(8 of 12)")
    _, curve, *outside = figure.axes[1].get_lines()
    x, y = (np.asarray(axis) for axis in curve.get_data())
    np.testing.assert_allclose(y, [np.mean(pit[:, 1] <= at) - at for at in x], atol=1e-12)
    assert outside  # the shifted one leaves its envelope
    two = draw_calibration([[0.5], [0.5]], ["z"], [NAN]).axes[0]
    assert len(two.get_lines()) == 2  # two ranks have no envelope
    assert two.get_title(loc="right") == "no p"


@pytest.mark.parametrize("simulations", [40, 500])
def test_the_envelope_holds_what_is_uniform_and_not_what_is_not(simulations: int) -> None:
    """Of 200 uniform curves at most 5 %, to 3 standard errors, leave an envelope of 95 %."""
    from ppvae.diagnostics.trust.calibration_figure import _envelope

    at, low, high = _envelope(simulations)
    uniform = rng().random((200, simulations, 1))
    curve = (uniform <= at).mean(1) - at
    leave = ((curve < low) | (curve > high)).any(1).mean()
    assert leave < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    narrow = rng().beta(0.4, 0.4, size=(20, simulations, 1))
    curve = (narrow <= at).mean(1) - at
    assert ((curve < low) | (curve > high)).any(1).mean() > 0.5
