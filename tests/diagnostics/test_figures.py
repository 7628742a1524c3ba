"""Figures of a diagnosis: what a reader sees is the data, whatever the data are."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ppvae import plots
from ppvae.diagnostics.bound.figures import draw_kl_by_dimension, draw_surgery
from ppvae.diagnostics.estimator.figure import draw_estimators
from ppvae.diagnostics.evidence.figures import draw_bound_curve, draw_sandwich
from ppvae.diagnostics.gap.figure import draw_gaps
from ppvae.diagnostics.model.figure import draw_predictive
from ppvae.diagnostics.trust.calibration_figure import draw_calibration
from ppvae.diagnostics.trust.chains_figure import draw_posterior_against_guide
from ppvae.diagnostics.trust.pareto_k_figure import draw_reliability
from ppvae.errors import InputError
from ppvae.plots.text import fitted, in_parts, measured
from ppvae.run.figures import save
from tests.plots.test_plots import saved
from tests.support.drawings import (
    AMORTIZATION,
    APPROXIMATION,
    CAPTIONS,
    COUNTS,
    CURVE,
    ESS,
    FIGURES,
    IMAGES,
    KHAT,
    KL,
    LOSSES,
    NATS,
    REFERENCES,
    TABLE,
    VARIANCE,
    chains,
    legend,
    noise_of_estimators,
    panel,
    ranks,
    rng,
)

LONG = "the first of several names that are far longer than there is room for, and end in $5 or $6"
WIDE = "W" * 60
NAN, INF = float("nan"), float("inf")


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Where each level bar begins, and how long it is."""
    found = [p for p in axes.patches if isinstance(p, Rectangle)]
    return [(p.get_x(), p.get_width()) for p in found]


def heights(axes: Axes) -> list[float]:
    return [p.get_height() for p in axes.patches if isinstance(p, Rectangle)]


def said(axes: Axes) -> list[str]:
    return [t.get_text() for t in axes.texts]


def ticks(axes: Axes, which: str) -> list[str]:
    axis = axes.xaxis if which == "x" else axes.yaxis
    return [t.get_text().replace("\n", " ") for t in axis.get_ticklabels()]


def test_text_is_cut_to_the_room_there_is_and_keeps_its_ends() -> None:
    assert fitted("short", 2.0) == "short"
    cut = fitted(LONG, 2.0)
    assert cut.startswith("the first")
    assert cut.endswith(r"\$6")
    for text in (cut, fitted(WIDE, 2.0)):
        page = Figure()
        drawn = page.text(0, 0, text, fontsize=11).get_window_extent()
        assert 1.5 < drawn.width / page.dpi < 2.05  # hinted for the screen when it is drawn
    assert "…" in cut
    assert fitted("approximation gap of the guide", 1.5, lines=2).count("\n") == 1
    assert len(fitted(WIDE, 2.0)) < len(fitted("i" * 60, 2.0))
    assert fitted("", 1.0) == ""
    assert in_parts("#5  k 0.93  gap 4.1", 3.0) == "#5, k 0.93, gap 4.1"
    assert in_parts("#5  k 0.93  gap 4.1", 1.0) == "#5, k 0.93\ngap 4.1"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.4142, 0.06, "1.41 ± 0.06"),
        (1.4142, 0.012, "1.414 ± 0.012"),
        (-86.31, None, "\N{MINUS SIGN}86.31"),
        (-0.001, 0.2, "0.00 ± 0.20"),
        (1234.5, 56.0, "1230 ± 60"),
        (-1234.56, None, "\N{MINUS SIGN}1234.6"),
        (2.0, 0.0, "2 ± 0"),
        (2.0, NAN, "2"),
        (NAN, 0.1, "not finite"),
    ],
)
def test_a_number_has_the_digits_that_its_error_leaves(
    value: float, error: float | None, text: str
) -> None:
    assert measured(value, error) == text


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
    assert left.get_ylabel() == "nats, less log p(x)"
    assert sum(heights(right)) == 3
    assert right.get_title(loc="left").startswith("mean 0.43")


def test_gaps_lead_from_the_bound_to_log_p() -> None:
    figure = draw_gaps([1.0, 3.0], [0.5, 1.5], elbo=[-90.0, -92.0], log_p=-88.0)
    steps, shares = figure.axes
    np.testing.assert_allclose(bars(steps), [(-91.0, 1.0), (-90.0, 2.0)])
    assert ticks(steps, "y") == ["ELBO", "+ amortization gap", "+ approximation gap", "log p(x)"]
    assert said(steps)[0] == "\N{MINUS SIGN}91"
    assert steps.get_xlabel() == NATS
    curves = {
        line.get_color(): line for line in shares.get_lines() if len(np.ravel(line.get_xdata())) > 2
    }
    for colour, gap in ((plots.VERMILLION, [0.5, 1.5]), (plots.BLUE, [1.0, 3.0])):
        x, y = (np.asarray(axis) for axis in curves[colour].get_data())
        np.testing.assert_array_equal(np.unique(x), gap)
        assert y.max() == 1
    assert legend(figure)[0] == "amortization gap, mean 1.0 ± 0.5"
    own = draw_gaps([1.0, 3.0], [0.5, 1.5], errors={"amortization": 0.25})
    assert legend(own)[0] == "amortization gap, mean 1.00 ± 0.25"
    assert len(own.axes) == 1


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
    assert sum(heights(effective)) == 10
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


def test_the_worst_data_stand_above_their_reconstructions_with_captions() -> None:
    figure = plots.worst_data(IMAGES, IMAGES / 2, CAPTIONS)
    assert len(figure.axes) == 8
    assert figure.get_suptitle().endswith("(8 of 10)")
    for i, axes in enumerate(figure.axes):
        sheet = np.asarray(axes.get_images()[0].get_array())
        np.testing.assert_allclose(sheet[:8, :, 0], IMAGES[i, 0])
        np.testing.assert_allclose(sheet[-8:, :, 0], IMAGES[i, 0] / 2)
        assert axes.get_xlabel().replace("\n", ", ") == ", ".join(CAPTIONS[i].split("  "))
    table = plots.worst_data(TABLE, TABLE / 2, CAPTIONS)
    for i, axes in enumerate(table.axes):
        data, rebuilt = axes.get_lines()
        np.testing.assert_array_equal(data.get_ydata(), TABLE[i])
        np.testing.assert_array_equal(rebuilt.get_ydata(), TABLE[i] / 2)
        assert axes.get_title(loc="left") == ", ".join(CAPTIONS[i].split("  "))


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
    assert len(two.get_lines()) == 2  # of two ranks nothing can be said
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


def test_an_estimator_has_one_colour_in_all_panels() -> None:
    rows = noise_of_estimators()
    figure = draw_estimators(rows[::-1])
    names = legend(figure)
    assert names == ["PathELBO", "TraceMeanField_ELBO", "Trace_ELBO"]
    colours = [h.get_color() for h in figure.legends[0].legend_handles]  # type: ignore[union-attr]  # matplotlib's types are wider
    assert len(set(colours)) == 3
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
        assert [line.get_color() for line in lines] == colours
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
    assert variance.get_title(loc="right") == "▽ 0\n "
    assert snr.get_title(loc="right") == "△ ∞\n "
    assert [line.get_marker() for line in variance.get_lines()].count("v") == 1
    assert [line.get_marker() for line in snr.get_lines()].count("^") == 1
    assert variance.get_ylim()[0] < 2.0 < variance.get_ylim()[1]


def one_row(**given: Any) -> list[dict[str, Any]]:
    return [{"name": "one", "particles": 8, **given}]


def long_estimators() -> list[dict[str, Any]]:
    return [
        {
            "name": f"{name} {row['name']}",
            "particles": particles,
            "variance": {LONG: v, WIDE: 0.0},
            "variance_error": {LONG: 3 * v},
            "relative_cost": 1e-7 * particles,
        }
        for row in noise_of_estimators()[::4]
        for name in (LONG, WIDE)
        for particles, v in ((1, 1e-9), (3, 1e5), (4, INF), (100, NAN))
    ]


HARD: dict[str, Callable[[], Figure]] = {
    "budget, long names": lambda: plots.budget(
        [(LONG, 123456.7, 3.2), (WIDE, -0.4, None), ("x", NAN, NAN)], title=LONG
    ),
    "budget, nothing lost": lambda: plots.budget([("none", 0.0, 0.0)]),
    "one dimension": lambda: draw_kl_by_dimension([0.0], [0.0]),
    "300 dimensions": lambda: draw_kl_by_dimension(
        rng().exponential(0.1, 300), rng().random(300) ** 9, error=np.full(300, 0.01)
    ),
    "dimensions, long names": lambda: draw_kl_by_dimension(
        np.linspace(-0.5, 900, 12), np.geomspace(1e-12, 1e3, 12), names=[LONG, WIDE] * 6
    ),
    "surgery, long names": lambda: draw_surgery(
        {LONG: (NAN, None), WIDE: (-1.0, 5.0), "a": (1e-9, 1e-12)}, total=(1e6, 10.0), capped=[WIDE]
    ),
    "one count": lambda: draw_bound_curve([7], [-1e6], [0.5]),
    "bound, long names": lambda: draw_bound_curve(
        [100, 101, 102, 5000],
        [NAN, -86.30512, -86.30511, -86.3051],
        [NAN, 0.0, 1e-5, NAN],
        references={
            LONG: (-86.3, 1e-4),
            WIDE: (NAN, None),
            **{f"r{i}": (-86.4, 0.1) for i in "abcdefg"},
        },
    ),
    "sandwich of one": lambda: draw_sandwich([-3.0], [-3.0]),
    "sandwich the wrong way": lambda: draw_sandwich(
        [-3.0, 1.0, NAN], [-4.0, 1e4, 0.0], truth=[-3.5, 0, 0]
    ),
    "gaps of one": lambda: draw_gaps([1.3], [0.2], elbo=-90.0, log_p=-88.5),
    "no gaps": lambda: draw_gaps([0.0, 0.0], [0.0, 0.0], elbo=-9.0, log_p=-9.0),
    "negative gaps, one far out": lambda: draw_gaps(
        [-0.5, *APPROXIMATION, 900.0, NAN],
        [-3.0, *AMORTIZATION, 1.0, 1.0],
        elbo=-1e6,
        log_p=-1e6 + 4,
    ),
    "one datum's weights": lambda: draw_reliability([NAN], [1.0], samples=10, threshold=0.0),
    "no finite khat": lambda: draw_reliability(
        np.full(9, -INF), np.full(9, 5000.0), samples=5000, threshold=0.7
    ),
    "khat far out": lambda: draw_reliability(
        [*KHAT, 12.5, NAN, INF], [*ESS, NAN, 1.0, 0.0], samples=5000, threshold=0.65
    ),
    "one worst datum": lambda: plots.worst_data(IMAGES[:1], IMAGES[:1], [LONG]),
    "wide worst data": lambda: plots.worst_data(
        rng().normal(size=(3, 6, 50)), np.full((3, 6, 50), NAN), [LONG, WIDE, ""], title=WIDE
    ),
    "tall worst data": lambda: plots.worst_data(
        rng().random((2, 3, 50, 6)), np.zeros((2, 3, 50, 6)), [f"{LONG}  {WIDE}", WIDE]
    ),
    "worst rows of one column": lambda: plots.worst_data(TABLE[:1, :1], TABLE[:1, :1], [WIDE]),
    "one chain": lambda: draw_posterior_against_guide(
        np.zeros((1, 1, 2)), [[0.0, 0.0]], [[0.0, 0.0]], names=[LONG, WIDE], titles=[WIDE]
    ),
    "seven chains": lambda: draw_posterior_against_guide(
        1e4 + 1e-3 * rng().normal(size=(7, 9, 2)),
        np.full((7, 2), 1e4),
        np.full((7, 2), 1e-3),
        names=[WIDE, LONG],
        titles=[LONG, WIDE] * 3 + ["a"],
        images=TABLE[:7],
    ),
    "two simulations": lambda: draw_calibration([[0.5], [0.5]], [WIDE], [NAN]),
    "three quantities, long names": lambda: draw_calibration(
        ranks(30, 3), [LONG, WIDE, "$"], [0.5, 1e-12, 0.3]
    ),
    "statistics that are all alike": lambda: draw_predictive(
        {LONG: 1e17, WIDE: NAN, "c": -1.0},
        {LONG: np.full(50, 1e17), WIDE: [NAN, 1.0], "c": [1e-12, 2e-12]},
        {LONG: 0.0},
    ),
    "many statistics": lambda: draw_predictive(
        {str(i): 0.0 for i in range(13)}, {str(i): [float(i)] for i in range(13)}
    ),
    "one estimator": lambda: draw_estimators(one_row(variance={"all": 0.0})),
    "one estimator's cost": lambda: draw_estimators(one_row(relative_cost=1.0, value=INF)),
    "estimators, long names": lambda: draw_estimators(long_estimators()),
}


def written(figure: Figure) -> Iterator[tuple[str, Any]]:
    """All that is to be read, and where it stands."""
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            unseen |= {
                label
                for place, label in zip(
                    axis.get_majorticklocs(), axis.get_ticklabels(), strict=False
                )
                if not low - slack <= place <= high + slack
            }
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            yield text.get_text(), text.get_window_extent()


def check_that_all_can_be_read(figure: Figure) -> None:
    texts = list(written(figure))
    assert texts
    page = figure.bbox.padded(1)
    for text, box in texts:
        assert all(page.contains(x, y) for x, y in box.corners()), text
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, up) <= 1, (one, other)


DRAWN = list(FIGURES)[list(FIGURES).index("budget") : list(FIGURES).index("compare_bounds")]


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_lies_on_another(name: str) -> None:
    check_that_all_can_be_read(saved(name)[0])


@pytest.mark.parametrize("name", HARD)
def test_no_text_lies_on_another_or_is_cut_off_whatever_the_data(name: str, tmp_path: Path) -> None:
    figure = HARD[name]()
    save(figure, tmp_path / "figure.png")
    check_that_all_can_be_read(figure)


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (lambda: plots.budget([]), "no loss"),
        (lambda: draw_kl_by_dimension([]), r"shape is \(0,\)"),
        (lambda: draw_kl_by_dimension([1.0, NAN]), "nan for dimension 1"),
        (lambda: draw_kl_by_dimension([1.0], [1.0, 2.0]), "active_variance must be"),
        (lambda: draw_kl_by_dimension([1.0], names=["a", "b"]), "2 names, for 1"),
        (lambda: draw_surgery({}), "terms is empty"),
        (lambda: draw_surgery({"a": (1.0, None)}, capped=["b"]), "'b', which is not among a"),
        (lambda: draw_bound_curve([1, 2], [-1.0], [0.1]), r"\(2,\), \(1,\) and \(1,\)"),
        (lambda: draw_bound_curve([1], [NAN], [0.1]), "none of 1 is finite"),
        (lambda: draw_bound_curve([0], [-1.0], [0.1]), "the least is 0"),
        (lambda: draw_sandwich([1.0], [1.0, 2.0]), "one number a datum"),
        (lambda: draw_sandwich([NAN], [1.0]), "none of 1 data"),
        (lambda: draw_gaps([1.0], [1.0, 2.0]), "one number a datum"),
        (lambda: draw_gaps([NAN], [1.0]), "none of 1 data"),
        (lambda: draw_reliability([], [], samples=5, threshold=0.7), "each datum"),
        (lambda: plots.worst_data(IMAGES, IMAGES[:1], CAPTIONS), "one shape"),
        (lambda: plots.worst_data(IMAGES, IMAGES, CAPTIONS[:2]), "each of 10 data, not 2"),
        (lambda: draw_posterior_against_guide(np.zeros((2, 5, 3)), [0], [0]), "must be"),
        (
            lambda: draw_posterior_against_guide(np.zeros((1, 5, 2)), [[0, 0]], [[1, -1]]),
            "no scale below 0",
        ),
        (
            lambda: draw_posterior_against_guide(np.full((1, 5, 2), NAN), [[0, 0]], [[1, 1]]),
            "datum 1 has no finite draw",
        ),
        (lambda: draw_calibration([[0.5]], ["a"], [0.5]), "at least 2"),
        (lambda: draw_calibration([[0.5], [1.5]], ["a"], [0.5]), r"in \[0, 1\]"),
        (lambda: draw_calibration([[0.5], [NAN]], ["a"], [0.5]), r"in \[0, 1\]"),
        (lambda: draw_calibration([[0.5], [0.5]], ["a", "b"], [0.5]), "2 names"),
        (lambda: draw_predictive({}, {}), "at least one"),
        (lambda: draw_predictive({"a": 1.0}, {"b": [1.0]}), "a, b"),
        (lambda: draw_predictive({"a": 1.0}, {"a": [NAN]}), "'a' has no finite"),
        (lambda: draw_estimators([]), "nothing to draw"),
        (lambda: draw_estimators([{"name": "a", "particles": 0}]), "'a' and 0"),
        (lambda: draw_estimators(one_row()), "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[[], Figure], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        draw()
