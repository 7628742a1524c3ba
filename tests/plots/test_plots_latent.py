"""Figures of codes: positions of codes, and colours of labels."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from ppvae import plots
from ppvae.errors import InputError
from ppvae.plots import latent_space
from ppvae.run.figures import save
from tests.support.drawings import CLASSES, CODES, Array, colours, heights, legend, picture, rng


def colours_of(figure: Figure) -> dict[str, tuple[float, ...]]:
    (found,) = figure.legends
    return {
        text.get_text(): to_rgba(colour)
        for text, colour in zip(found.get_texts(), colours(figure), strict=True)
    }


def test_a_label_has_its_colour_whoever_else_is_there() -> None:
    whole = colours_of(plots.latent(CODES, CLASSES))
    assert list(whole) == [str(k) for k in range(10)]
    assert len(set(whole.values())) == 10
    few = np.isin(CLASSES, [3, 9])
    part = colours_of(plots.latent(CODES[few], CLASSES[few]))
    assert part == {"3": whole["3"], "9": whole["9"]}
    names = [f"digit {k}" for k in range(10)]
    named = colours_of(plots.latent(CODES[few], CLASSES[few], names))
    assert named == {"digit 3": whole["3"], "digit 9": whole["9"]}
    text = colours_of(plots.latent(CODES[few], np.array(names)[CLASSES[few]], names))
    assert text == named


def test_a_dollar_in_a_name_is_a_dollar() -> None:
    figure = plots.latent(CODES, CLASSES, [f"${k}$ a$b" for k in range(10)])
    assert r"\$3\$ a\$b" in colours_of(figure)
    figure.draw_without_rendering()


def test_each_point_has_the_colour_of_its_label() -> None:
    codes = np.column_stack([np.arange(20.0), CLASSES[:20]])
    figure = plots.latent(codes, CLASSES[:20])
    legend_colours = colours_of(figure)
    drawn = 0
    for cloud in figure.axes[0].collections:
        points = np.asarray(cloud.get_offsets())
        for (_, label), colour in zip(points, np.asarray(cloud.get_facecolor()), strict=True):
            assert tuple(colour)[:3] == legend_colours[f"{label:.0f}"][:3]
            drawn += 1
    assert drawn == 20


def test_pca_says_how_much_it_shows() -> None:
    turn, _ = np.linalg.qr(rng().normal(size=(6, 6)))
    circle = 2 * np.pi * np.arange(64) / 64
    plane = np.column_stack([3 * np.cos(circle), np.sin(circle)])  # variances 9 : 1
    axes = plots.latent(plane @ turn[:2] + 5).axes[0]
    assert axes.get_xlabel() == "principal component 1 (90.0% of variance)"
    assert axes.get_ylabel() == "principal component 2 (10.0% of variance)"
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort((points / [3, 1]) ** 2 @ [1, 1]), 1.0)


def test_two_latents_are_drawn_as_they_are_with_the_prior_where_asked() -> None:
    plain = plots.latent(CODES[:, :2]).axes[0]
    assert (plain.get_xlabel(), plain.get_ylabel()) == ("$z_1$", "$z_2$")
    drawn = np.asarray(plain.collections[0].get_offsets())
    np.testing.assert_array_equal(drawn, CODES[:, :2])
    assert not plain.get_lines()
    told = plots.latent(CODES[:, :2], prior_circles=True)
    radii = [np.hypot(*np.asarray(line.get_data())) for line in told.axes[0].get_lines()]
    np.testing.assert_allclose(radii[0], 1.0)
    np.testing.assert_allclose(radii[1], 2.0)
    assert legend(told) == ["prior, 1 and 2 sd"]
    assert not plots.latent(CODES, prior_circles=True).axes[0].get_lines()


def test_one_latent_is_counted() -> None:
    axes = plots.latent(CODES[:, :1], CLASSES).axes[0]
    assert axes.get_ylabel() == "data per bin"
    assert sum(heights(axes)) == len(CODES)


def test_a_covariate_has_a_colour_bar_and_no_legend() -> None:
    figure = plots.latent(CODES[:, :2], CODES[:, 2])
    axes, bar = figure.axes
    assert bar.get_ylabel() == "label"
    assert not figure.legends
    assert len(np.asarray(axes.collections[0].get_offsets())) == len(CODES)


def test_many_classes_are_told_apart_and_the_legend_stays_short() -> None:
    names = [f"alphabet {k}" for k in range(50)]
    figure = plots.latent(np.tile(CODES, (2, 1)), np.arange(120) % 50, names)
    said = legend(figure)
    assert said[0] == "alphabet 0"
    looks = {
        (np.asarray(path.vertices).tobytes(), tuple(colour))
        for cloud in figure.axes[0].collections
        for path in cloud.get_paths()
        for colour in np.asarray(cloud.get_facecolor())
    }
    assert len(looks) == 50
    assert said[-1] == "and 30 more"


def test_what_has_no_label_or_no_code_is_said() -> None:
    labels = CLASSES.astype(float)
    labels[:5] = np.nan
    codes = CODES[:, :2].copy()
    codes[-3:] = np.inf
    figure = plots.latent(codes, labels)
    assert legend(figure)[-1] == "no label"
    assert "3 of 60 not finite" in figure.axes[0].get_title(loc="left")
    assert sum(len(np.asarray(c.get_offsets())) for c in figure.axes[0].collections) == 57


@pytest.mark.parametrize("codes", [np.zeros((30, 4)), np.zeros((1, 4)), np.zeros((1, 2))])
def test_a_collapsed_guide_can_still_be_drawn(codes: Array, tmp_path: Path) -> None:
    figure = plots.latent(codes)
    assert figure.axes[0].get_xlabel() == "$z_1$"
    save(figure, tmp_path / "latent.png")


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (np.arange(59), None, r"one per datum, \(60,\)"),
        (CLASSES, ["a", "b"], "label 2 has no name"),
        (np.array(["a", "c"] * 30), ["a", "b"], "'c' is not among"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: npt.ArrayLike, names: list[str] | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plots.latent(CODES, labels, names)


@pytest.mark.parametrize("upwards", [True, False])
def test_z2_grows_upwards_in_whatever_order_it_comes(upwards: bool) -> None:
    z1, z2 = np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0])
    grid = np.stack(np.meshgrid(z1, z2 if upwards else z2[::-1]), axis=-1)
    means = np.broadcast_to(grid[:, :, 1, None, None, None], (3, 4, 1, 5, 5))
    figure = plots.manifold(means, grid)
    sheet = picture(figure)
    assert sheet.shape == (17, 23, 3)  # a line between any two
    np.testing.assert_array_equal(sheet[::6, 0, 0], [1.0, 0.5, 0.0])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")
    across, up = (
        dict(zip(axis.get_ticklocs(), [t.get_text() for t in axis.get_ticklabels()], strict=True))
        for axis in (axes.xaxis, axes.yaxis)
    )
    assert across == {2: "\u22121", 8: "0", 14: "1", 20: "2"}
    assert up == {2: "1", 8: "0.5", 14: "0"}


def test_one_axis_of_a_grid_serves_both() -> None:
    values = np.array([-1e-9, 0.25, 1.0])
    means = np.zeros((3, 3, 1, 2, 2)) + values.clip(0)[None, :, None, None, None]
    figure = plots.manifold(means, values)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "0.25", "1"]
    sheet = picture(figure)
    np.testing.assert_array_equal(sheet[0, ::3, 0], values.clip(0))


def test_a_table_has_a_curve_in_each_cell() -> None:
    means = rng().normal(size=(3, 4, 6))
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), axis=-1)
    (curves,) = plots.manifold(means, grid).axes[0].collections
    segments = [np.asarray(path.vertices, dtype=np.float64) for path in curves.get_paths()]
    assert len(segments) == 12
    centre = np.array([[s[:, 0].mean() for s in segments[:4]]])
    np.testing.assert_allclose(centre, [[0, 1, 2, 3]], atol=1e-12)
    top_left = segments[0][:, 1]
    assert np.corrcoef(-top_left, means[2, 0])[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("grid", [np.arange(4.0), rng().normal(size=(3, 3, 2))])
def test_a_grid_that_does_not_fit_is_refused(grid: Array) -> None:
    with pytest.raises(InputError, match="grid must be"):
        plots.manifold(np.zeros((3, 3, 2)), grid)


@pytest.mark.parametrize("shape", [(2, 5), (3, 3), (200, 20)])
def test_the_plane_is_that_of_principal_components(shape: tuple[int, int]) -> None:
    """The plane of scikit-learn's PCA, including signs."""
    codes = np.random.default_rng(3).normal(size=shape) * np.arange(1, shape[1] + 1)
    pca = PCA(n_components=2, svd_solver="full")
    expected = pca.fit_transform(codes)
    plane, (first, _) = latent_space._to_plane(codes)
    np.testing.assert_allclose(plane, expected, atol=1e-8)
    assert f"({pca.explained_variance_ratio_[0]:.1%} of variance)" in first


def test_ellipses_and_marks_are_of_two_latents() -> None:
    codes = np.array([[0.0, 1.0], [np.nan, 0.0], [2.0, 3.0], [4.0, 4.0]])
    scale = np.array([[0.1, 0.2], [9.0, 9.0], [0.3, 0.4]])
    axes = plots.latent(codes, scale=scale, marks={"a hole": (1.0, 2.0)}).axes[0]
    found = [c for c in axes.collections if isinstance(c, EllipseCollection)]
    around: Any = found[0]
    assert np.asarray(around.get_offsets()).tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert around.get_widths().tolist() == pytest.approx([0.2, 0.6])
    assert around.get_heights().tolist() == pytest.approx([0.4, 0.8])
    figure = plots.latent(codes, marks={"a hole": (1.0, 2.0)})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a hole"]
    others: list[dict[str, Any]] = [{"scale": np.ones((1, 2))}, {"marks": {"a": (0.0, 0.0)}}]
    for more in others:
        with pytest.raises(InputError, match="need two latents; loc has 3"):
            plots.latent(np.zeros((4, 3)), **more)


def test_legends_leave_the_title_alone() -> None:
    marks = dict.fromkeys(("an 8", "another 8", "a hole"), (0.0, 0.0))
    title = "Noise with the KL: clouds fill the prior"
    figure = plots.latent(CODES[:, :2], CLASSES, prior_circles=True, marks=marks, title=title)
    figure.draw_without_rendering()
    written = figure.axes[0].title.get_window_extent()
    assert len(figure.legends) == 2
    for each in figure.legends:
        assert not each.get_window_extent().overlaps(written)
