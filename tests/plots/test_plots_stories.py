"""Figures of the notebooks: each curve and picture has its data and place."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from ppvae import plots
from ppvae.errors import InputError
from ppvae.plots.prior_and_codes import SHARES, smallest_regions
from ppvae.run.figures import save
from tests.support.drawings import Array, picture, rng

X = np.array([0.25, 1.0, 4.0, 16.0])
AXIS = np.linspace(-4, 4, 161)
GRID = np.stack(np.meshgrid(AXIS, AXIS), -1)
NORMAL = -0.5 * (GRID**2).sum(-1) - math.log(2 * math.pi)
SPOT = -0.5 * (((GRID - [1.5, -1.0]) / 0.5) ** 2).sum(-1) - math.log(2 * math.pi * 0.25)
CODES = {"normal": rng().normal(size=(300, 2)), "spot": 0.5 * rng().normal(size=(300, 2))}
DENSITY = {"normal": NORMAL, "spot": SPOT}


def curves() -> Figure:
    panels = {"error": {"train": X, "test": 2 * X}, "KL, nats": {"test": 1 / X}}
    return plots.curves(X, panels, across="c", title="Trade", log=True, marks={"best": 2.0})


def prior_and_codes() -> Figure:
    return plots.prior_and_codes(CODES, DENSITY, GRID)


def side_by_side() -> Figure:
    return plots.side_by_side({"data": np.zeros((3, 8, 8)), "drawn": np.ones((3, 8, 8))}, title="")


@pytest.mark.parametrize("draw", [curves, prior_and_codes, side_by_side])
def test_a_figure_is_saved_without_a_warning(draw: Callable[[], Figure], tmp_path: Path) -> None:
    assert save(draw(), tmp_path / "figure.png").stat().st_size > 4000


def test_each_curve_is_in_its_panel_in_the_colour_of_its_name() -> None:
    figure = curves()
    above, below = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["error", "KL, nats"]
    assert below.get_xlabel() == "c"
    assert above.get_xscale() == below.get_xscale() == "log"
    lines = {line.get_label(): line for line in above.get_lines()}
    np.testing.assert_array_equal(np.asarray(lines["test"].get_data()), [X, 2 * X])
    (again,) = [line for line in below.get_lines() if line.get_label() == "test"]
    np.testing.assert_array_equal(np.asarray(again.get_data()), [X, 1 / X])
    assert to_rgba(again.get_color()) == to_rgba(lines["test"].get_color())
    assert to_rgba(again.get_color()) != to_rgba(lines["train"].get_color())
    for axes in figure.axes:
        (mark,) = [line for line in axes.get_lines() if line.get_label() == "best"]
        np.testing.assert_array_equal(mark.get_xdata(), [2.0, 2.0])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["train", "test", "best"]


def test_one_curve_without_a_name_needs_no_legend() -> None:
    assert not plots.curves(X, {"y": {"": X}}, across="x", title="").legends
    marked = plots.curves(X, {"y": {"": X}}, across="x", title="", marks={"best": 2.0})
    assert [text.get_text() for text in marked.legends[0].get_texts()] == ["best"]


@pytest.mark.parametrize(
    ("x", "panels", "log", "said"),
    [
        (X, {"y": {"short": X[1:]}}, False, r"curve 'short' has shape \(3,\), and x has \(4,\)"),
        (X, {}, False, "each panel needs a curve"),
        (X - 1, {"y": {"": X}}, True, "the minimum of x is -0.75"),
    ],
)
def test_curves_that_do_not_fit_are_refused(
    x: Array, panels: dict[str, dict[str, Array]], log: bool, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plots.curves(x, panels, across="x", title="", log=log)


def test_the_smallest_regions_of_a_normal_are_circles_of_known_radius() -> None:
    """P(|z| < r) = 1 - exp(-r^2 / 2) in the plane, at the edge log p = -r^2 / 2 - log 2 pi."""
    radii = [math.sqrt(-2 * math.log(1 - share)) for share in SHARES]
    edges = [-(r**2) / 2 - math.log(2 * math.pi) for r in radii]
    np.testing.assert_allclose(smallest_regions(NORMAL), edges, atol=0.03)
    np.testing.assert_allclose(smallest_regions(NORMAL + 7), np.add(edges, 7), atol=0.03)


def test_contours_lie_where_the_prior_does_and_codes_where_they_are() -> None:
    figure = prior_and_codes()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["normal", "spot"]
    for axes, name, centre, sd in zip(
        figure.axes, CODES, [(0.0, 0.0), (1.5, -1.0)], [1.0, 0.5], strict=True
    ):
        (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
        np.testing.assert_array_equal(np.asarray(dots.get_offsets()), CODES[name])
        inner, outer = [c for c in axes.collections if isinstance(c, QuadContourSet)]
        for contour, share in zip((inner, outer), SHARES, strict=True):
            (path,) = contour.get_paths()
            distance = np.hypot(*(np.asarray(path.vertices) - centre).T)
            radius = sd * math.sqrt(-2 * math.log(1 - share))
            np.testing.assert_allclose(distance, radius, atol=0.06)


def test_priors_and_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="must have the same names"):
        plots.prior_and_codes(CODES, {"normal": NORMAL}, GRID)
    with pytest.raises(InputError, match=r"codes of 'spot' must be \(N, 2\)"):
        plots.prior_and_codes(CODES, {"normal": NORMAL, "spot": SPOT[1:]}, GRID)
    with pytest.raises(InputError, match="grid must be"):
        plots.prior_and_codes(CODES, DENSITY, AXIS)


def test_rows_of_pictures_stand_under_one_another_on_one_scale() -> None:
    first = np.linspace(0, 16, 4 * 64).reshape(4, 1, 8, 8)
    figure = plots.side_by_side({"data": first, "drawn": first + 4}, title="Draws")
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["data", "drawn"]
    sheet = picture(figure)
    assert sheet.shape == (8 + 2 + 8, 4 * 8 + 3, 3)
    np.testing.assert_allclose(sheet[:8, 9:17, 0], first[1, 0] / 20)
    np.testing.assert_allclose(sheet[10:, :8, 2], (first[0, 0] + 4) / 20)
    assert figure.get_supxlabel() == "black 0, white 20"
    many = picture(plots.side_by_side({"data": np.zeros((40, 8, 8))}, title=""))
    assert many.shape[1] == 16 * 8 + 15


def test_what_is_no_row_of_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"of one shape; they have: \(3, 8, 8\), \(2, 8, 8\)"):
        plots.side_by_side({"a": np.zeros((3, 8, 8)), "b": np.zeros((2, 8, 8))}, title="")
    with pytest.raises(InputError, match="rows must be images"):
        plots.side_by_side({"a": np.zeros((3, 5, 8, 8))}, title="")
