import csv
import functools
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ppvae import plots
from ppvae.errors import InputError

type Array = npt.NDArray[np.float64]
type Rows = list[dict[str, float | str | None]]

NATS = "nats per datum"


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def fit(epochs: int = 40, *, point_mass: bool = False, warm_up: int = 0) -> Rows:
    rows: Rows = []
    for epoch in range(1, epochs + 1):
        for split, worse in (("train", 0.0), ("valid", 1.5)):
            reconstruction = -80 - worse - 30 / epoch
            kl = 20 - 5 / epoch
            rows.append(
                {
                    "epoch": epoch,
                    "split": split,
                    "elbo": None if point_mass else reconstruction - kl,
                    "reconstruction": reconstruction,
                    "kl": None if point_mass else kl,
                    "beta": min(1.0, epoch / warm_up) if warm_up else 1.0,
                }
            )
    return rows


def summary(offset: float) -> dict[str, Any]:
    noise = rng()
    steps = np.arange(0, 500, 50)
    return {
        "values": -90 + offset + noise.normal(size=20),
        "gradient_variance": {"encoder": 1e-3, "decoder": 1e-5},
        "snr": {"encoder": 0.5, "decoder": 3.0},
        "ms_per_step": 5.0 + offset,
        "held_out": [-91.0 + offset, -92.0 + offset, -93.0 + offset],
        "curves": [(steps, -100 + steps / 50.0) for _ in range(3)],
    }


IMAGES = rng().random((10, 1, 8, 8))
COLOURED = rng().random((10, 3, 6, 5))
TABLE = rng().normal(size=(10, 7))
CODES = rng().normal(size=(60, 5))
CLASSES = np.arange(60) % 10

FIGURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: plots.history(fit(warm_up=10), best_epoch=12),
    "reconstructions": lambda: plots.reconstructions(IMAGES, IMAGES * 0.9),
    "reconstructions of a table": lambda: plots.reconstructions(TABLE, TABLE * 0.9),
    "samples": lambda: plots.samples(COLOURED),
    "samples of a table": lambda: plots.samples(TABLE),
    "interpolation": lambda: plots.interpolation(IMAGES.reshape(2, 5, 1, 8, 8)),
    "interpolation of a table": lambda: plots.interpolation(TABLE.reshape(2, 5, 7)),
    "latent": lambda: plots.latent(CODES, CLASSES),
    "latent with a covariate": lambda: plots.latent(CODES, CODES[:, 0]),
    "one latent": lambda: plots.latent(CODES[:, :1], CLASSES, prior_circles=True),
    "manifold": lambda: plots.manifold(
        IMAGES[:9].reshape(3, 3, 1, 8, 8), np.array([-1.0, 0.0, 1.0])
    ),
    "manifold of a table": lambda: plots.manifold(
        TABLE[:9].reshape(3, 3, 7), np.array([-1.0, 0.0, 1.0])
    ),
    "compare_bounds": lambda: plots.compare_bounds({"one": summary(0), "two": summary(1)}),
}

every_figure = pytest.mark.parametrize("name", FIGURES)


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [a for a in figure.axes if a.get_title(loc="left").startswith(title)]
    return found


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def picture(figure: Figure) -> Array:
    """The one image of a figure, as it is handed to matplotlib."""
    (image,) = figure.axes[0].get_images()
    return np.asarray(image.get_array(), dtype=np.float64)


# --- all of them ---------------------------------------------------------------------------------


@functools.cache
def saved(name: str) -> tuple[Figure, bytes]:
    figure = FIGURES[name]()
    with tempfile.TemporaryDirectory() as folder:
        return figure, plots.save(figure, Path(folder) / "figure.png").read_bytes()


@every_figure
def test_a_figure_leaves_the_settings_of_the_user_alone(name: str) -> None:
    before = dict.copy(mpl.rcParams)
    saved(name)
    assert dict.copy(mpl.rcParams) == before


@every_figure
def test_a_figure_is_the_same_bytes_whoever_draws_it(name: str, tmp_path: Path) -> None:
    theirs: Any = {"figure.facecolor": "black", "xtick.labelsize": 4, "savefig.bbox": "tight"}
    with mpl.rc_context({**theirs, "font.size": 30, "lines.linewidth": 9}):
        again = plots.save(FIGURES[name](), tmp_path / "again.png").read_bytes()
    assert again == saved(name)[1]


@pytest.mark.parametrize(
    "name", ["reconstructions", "samples", "interpolation", "latent with a covariate"]
)
def test_a_figure_is_the_same_bytes_however_often_it_is_saved(name: str, tmp_path: Path) -> None:
    figure, once = saved(name)
    for turn in range(2):
        assert plots.save(figure, tmp_path / f"{turn}.png").read_bytes() == once


@every_figure
def test_no_text_is_small_and_none_is_cut_off(name: str) -> None:
    figure, _ = saved(name)
    assert figure.get_figwidth() == pytest.approx(6.4)
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text)]
    seen = [t for t in texts if t.get_visible() and t.get_text()]
    assert seen
    for text in seen:
        assert float(text.get_fontsize()) >= 10 * 6.4 / 6, text.get_text()
    ticks = {t for a in figure.axes for t in (*a.get_xticklabels(), *a.get_yticklabels())}
    page = figure.bbox.padded(1)
    for text in set(seen) - ticks:
        corners = text.get_window_extent().corners()
        assert all(page.contains(x, y) for x, y in corners), text.get_text()


def test_importing_and_drawing_need_no_pyplot() -> None:
    code = (
        "import sys, numpy as np\n"
        "from ppvae import plots\n"
        "plots.samples(np.zeros((4, 3)))\n"
        "print('matplotlib.pyplot' in sys.modules, 'sklearn' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert told.stdout.split() == ["False", "False"]


# --- history -------------------------------------------------------------------------------------


def test_history_draws_each_number_in_nats() -> None:
    rows = fit()
    figure = plots.history(rows)
    for title, name in (
        ("Bound", "elbo"),
        ("Reconstruction", "reconstruction"),
        ("KL", "kl"),
    ):
        axes = panel(figure, title)
        assert axes.get_ylabel() == NATS
        train, valid = axes.get_lines()
        for line, split in ((train, "train"), (valid, "valid")):
            expected = [row[name] for row in rows if row["split"] == split]
            np.testing.assert_array_equal(line.get_ydata(), np.array(expected, dtype=float))
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 41))
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert legend(figure) == ["train", "valid"]


def test_history_reads_rows_as_csv_gives_them() -> None:
    rows = fit(12)
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    sheet.seek(0)
    text: Rows = [dict(row) for row in csv.DictReader(sheet)]
    for numbers, strings in zip(plots.history(rows).axes, plots.history(text).axes, strict=True):
        for a, b in zip(numbers.get_lines(), strings.get_lines(), strict=True):
            np.testing.assert_allclose(np.asarray(a.get_xydata()), np.asarray(b.get_xydata()))


@pytest.mark.parametrize("absent", [None, ""])
def test_a_point_mass_has_a_reconstruction_and_no_bound(absent: str | None) -> None:
    rows = fit(point_mass=True)
    for row in rows:
        row["elbo"] = row["kl"] = absent
    figure = plots.history(rows)
    assert [a.get_title(loc="left") for a in figure.axes] == ["Reconstruction"]
    assert "no bound" in figure.get_suptitle()
    assert "point mass" in figure.get_suptitle()


def test_a_bound_that_diverged_is_not_called_a_point_mass() -> None:
    rows = fit()
    for row in rows:
        row["elbo"] = float("nan")
    said = plots.history(rows).get_suptitle()
    assert "point mass" not in said
    assert "finite" in said


def test_a_wild_start_neither_hides_the_rest_nor_is_hidden() -> None:
    rows = fit()
    rows[0]["elbo"], rows[1]["elbo"] = -1e6, -5e5
    axes = panel(plots.history(rows), "Bound")
    low, high = axes.get_ylim()
    settled = [float(r["elbo"] or 0) for r in rows if float(r["epoch"] or 0) > 10]
    assert low < min(settled)
    assert max(settled) < high
    assert high - low < 20
    below = sum(float(r["elbo"] or 0) < low for r in rows)
    assert axes.get_title(loc="right") == f"{below} points below the axis, to \u22121e+06"


def test_a_tame_history_is_shown_whole_without_remark() -> None:
    rows = fit(5)
    axes = panel(plots.history(rows), "Bound")
    values = [float(r["elbo"] or 0) for r in rows]
    assert axes.get_ylim()[0] < min(values)
    assert max(values) < axes.get_ylim()[1]
    assert axes.get_title(loc="right") == ""


def test_the_best_epoch_is_marked_even_where_it_is_far_down() -> None:
    rows = fit()
    figure = plots.history(rows, best_epoch=1)
    assert "best epoch, 1" in legend(figure)
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if set(np.ravel(line.get_xdata())) == {1}]
        assert len(marks) == 2  # the dashed line and the dot
        dot = next(m for m in marks if m.get_marker() == "o")
        low, high = axes.get_ylim()
        assert low < float(np.ravel(dot.get_ydata())[0]) < high


def test_the_warm_up_is_shaded_to_the_epoch_that_ends_it() -> None:
    figure = plots.history(fit(warm_up=10))
    assert "warm-up, β from 0.1 to 1" in legend(figure)
    assert panel(figure, "Bound").get_title(loc="left") == "Bound (ELBO, at β = 1)"
    for axes in figure.axes:
        (shade,) = axes.patches
        extent = shade.get_extents().transformed(axes.transData.inverted())
        assert (extent.x0, extent.x1) == pytest.approx((1, 10))
    assert not plots.history(fit()).axes[0].patches


def test_a_constant_weight_on_the_kl_is_said() -> None:
    rows = fit()
    for row in rows:
        row["beta"] = 4.0
    figure = plots.history(rows)
    assert "climbed at β = 4" in legend(figure)
    assert not figure.axes[0].patches


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "split": "test", "elbo": -3.0}]])
def test_a_history_of_nothing_is_refused(rows: Rows) -> None:
    with pytest.raises(InputError, match="no history"):
        plots.history(rows)


# --- grids ---------------------------------------------------------------------------------------


def test_reconstructions_stand_under_their_data_on_one_scale() -> None:
    data = np.linspace(0, 16, 3 * 28 * 28).reshape(3, 1, 28, 28)
    figure = plots.reconstructions(data, data + 4)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["data", "reconstruction"]
    sheet = picture(figure)
    gap = 2
    assert sheet.shape == (2 * 28 + gap, 3 * 28 + 2 * gap, 3)
    np.testing.assert_allclose(sheet[:28, :28, 0], data[0, 0] / 20)
    np.testing.assert_allclose(sheet[28 + gap :, 28 + gap : 56 + gap, 2], (data[1, 0] + 4) / 20)
    np.testing.assert_array_equal(sheet[28 : 28 + gap], 1.0)
    assert figure.get_supxlabel() == "black 0, white 20"


def test_of_many_data_the_first_are_drawn_and_that_is_said() -> None:
    many = np.zeros((100, 1, 8, 8))
    figure = plots.reconstructions(many, many)
    assert len(figure.axes[0].get_yticklabels()) == 8
    assert figure.axes[0].get_title(loc="left").endswith("(32 of 100)")


def test_reconstructions_of_a_table_are_two_lines_a_datum() -> None:
    figure = plots.reconstructions(TABLE, 2 * TABLE)
    assert len(figure.axes) == 5
    for i, axes in enumerate(figure.axes):
        data, rebuilt = axes.get_lines()
        np.testing.assert_array_equal(data.get_ydata(), TABLE[i])
        np.testing.assert_array_equal(rebuilt.get_ydata(), 2 * TABLE[i])
        assert axes.get_ylabel() == f"datum {i + 1}"
    assert figure.axes[-1].get_xlabel() == "column index"
    assert legend(figure) == ["data", "reconstruction"]


def test_reconstructions_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(10, 7\) and \(9, 7\)"):
        plots.reconstructions(TABLE, TABLE[:9])


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (8, 8)])
def test_samples_fill_a_nearly_square_grid(count: int, shape: tuple[int, ...]) -> None:
    means = rng().random((count, *shape)) * 0.9
    sheet = picture(plots.samples(means))
    columns, rows = (sheet.shape[1] + 1) // 9, (sheet.shape[0] + 1) // 9
    assert rows <= columns <= rows + 1
    assert columns * rows >= count
    assert np.isfinite(sheet).all()
    colour = np.broadcast_to(means[-1], (3, 8, 8)) if shape[0] != 3 else means[-1]
    r, c = divmod(count - 1, columns)
    last = sheet[9 * r : 9 * r + 8, 9 * c : 9 * c + 8]
    np.testing.assert_allclose(last, np.moveaxis(colour, 0, -1))
    if columns * rows > count:
        np.testing.assert_array_equal(sheet[9 * r : 9 * r + 8, 9 * (c + 1) :], 1.0)


def test_colours_of_any_range_share_one_scale() -> None:
    means = np.zeros((1, 3, 4, 4))
    means[0, 0], means[0, 1], means[0, 2] = -1.0, 0.0, 3.0
    figure = plots.samples(means)
    np.testing.assert_allclose(picture(figure)[0, 0], [0, 0.25, 1])
    assert figure.get_supxlabel() == "each colour from \u22121 to 3"


def test_a_missing_pixel_is_neither_black_nor_white() -> None:
    means = np.full((1, 1, 4, 4), 0.5)
    means[0, 0, 1, 2] = np.nan
    figure = plots.samples(means)
    sheet = picture(figure)
    np.testing.assert_allclose(sheet[0, 0], 0.5)
    assert sheet[1, 2, 2] > sheet[1, 2, 0]
    assert figure.get_supxlabel().endswith("pale blue missing")


def test_samples_of_a_table_are_a_heat_map_with_a_scale() -> None:
    figure = plots.samples(TABLE)
    axes, bar = figure.axes
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), TABLE)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("column index", "draw")
    assert bar.get_ylabel() == "value, as modelled"


@pytest.mark.parametrize("draw", [plots.samples, plots.interpolation])
def test_no_data_is_refused(draw: Callable[[Array], Figure]) -> None:
    with pytest.raises(InputError, match="not empty"):
        draw(np.zeros((0, 3, 4)))


def test_an_interpolation_marks_both_ends_of_each_walk() -> None:
    walks = rng().random((3, 6, 1, 8, 8))
    figure = plots.interpolation(walks)
    (axes,) = figure.axes
    frames = [(p.get_extents().x0, to_rgba(p.get_edgecolor())) for p in axes.patches]
    assert len(frames) == 6
    assert len({x for x, _ in frames}) == 2
    assert {c for _, c in frames} == {to_rgba(plots.BLUE), to_rgba(plots.VERMILLION)}
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert (labels[0], labels[-1]) == ("0", "1")
    sheet = picture(figure)
    np.testing.assert_allclose(sheet[:8, -8:, 0], walks[0, -1, 0])
    np.testing.assert_allclose(sheet[-8:, :8, 0], walks[-1, 0, 0])


def test_an_interpolation_of_a_table_is_a_line_a_step() -> None:
    figure = plots.interpolation(TABLE.reshape(2, 5, 7))
    first, second, bar = figure.axes
    assert len(first.get_lines()) == len(second.get_lines()) == 5
    np.testing.assert_array_equal(second.get_lines()[-1].get_ydata(), TABLE[-1])
    assert bar.get_ylabel().startswith("t, ")


def test_one_step_is_a_walk_too() -> None:
    plots.interpolation(np.zeros((1, 1, 1, 4, 4)))
    plots.interpolation(np.zeros((1, 1, 4)))


# --- the latent space ----------------------------------------------------------------------------


def colours_of(figure: Figure) -> dict[str, tuple[float, ...]]:
    (found,) = figure.legends
    return {
        text.get_text(): to_rgba(handle.get_color())  # type: ignore[union-attr]
        for text, handle in zip(found.get_texts(), found.legend_handles, strict=True)
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
    heights = [p.get_height() for p in axes.patches]  # type: ignore[attr-defined]
    assert sum(heights) == len(CODES)


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
    plots.save(figure, tmp_path / "latent.png")


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (np.arange(59), None, "one for each of 60 data"),
        (CLASSES, ["a", "b"], "label 2 has no name"),
        (np.array(["a", "c"] * 30), ["a", "b"], "'c' is not among"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: npt.ArrayLike, names: list[str] | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plots.latent(CODES, labels, names)


# --- manifold ------------------------------------------------------------------------------------


@pytest.mark.parametrize("upwards", [True, False])
def test_z2_grows_upwards_in_whatever_order_it_comes(upwards: bool) -> None:
    z1, z2 = np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0])
    grid = np.stack(np.meshgrid(z1, z2 if upwards else z2[::-1]), axis=-1)
    means = np.broadcast_to(grid[:, :, 1, None, None, None], (3, 4, 1, 5, 5))
    figure = plots.manifold(means, grid)
    sheet = picture(figure)
    assert sheet.shape == (15, 20, 3)  # seamless
    np.testing.assert_array_equal(sheet[::5, 0, 0], [1.0, 0.5, 0.0])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")
    across, up = (
        dict(zip(axis.get_ticklocs(), [t.get_text() for t in axis.get_ticklabels()], strict=True))
        for axis in (axes.xaxis, axes.yaxis)
    )
    assert across == {2: "\u22121", 7: "0", 12: "1", 17: "2"}
    assert up == {2: "1", 7: "0.5", 12: "0"}


def test_one_axis_of_a_grid_serves_both() -> None:
    values = np.array([0.0, 0.25, 1.0])
    means = np.zeros((3, 3, 1, 2, 2)) + values[None, :, None, None, None]
    sheet = picture(plots.manifold(means, values))
    np.testing.assert_array_equal(sheet[0, ::2, 0], values)


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


# --- bounds --------------------------------------------------------------------------------------


def test_bounds_are_compared_in_their_units() -> None:
    figure = plots.compare_bounds({"Trace_ELBO": summary(0), "TraceMeanField_ELBO": summary(1)})
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
    ends = sorted(p.get_x() + p.get_width() for p in variance.patches)  # type: ignore[attr-defined]
    np.testing.assert_allclose(ends, [1e-5, 1e-5, 1e-3, 1e-3])
    cost = [p.get_width() for p in panel(figure, "Cost").patches]  # type: ignore[attr-defined]
    assert cost == [5.0, 6.0]
    assert len(panel(figure, "Bound by step").get_lines()) == 6


def test_the_spread_is_that_of_the_mean_only_where_it_says_so() -> None:
    figure = plots.compare_bounds({"one": {"values": [1.0, 2.0, 3.0], "held_out": [1.0, 2.0, 3.0]}})
    for title, spread in (("Estimates", 1.0), ("Held out", 1 / np.sqrt(3))):
        (bars,) = panel(figure, title).containers
        (segment,) = bars[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 0], [2 - spread, 2 + spread])


def test_one_number_has_no_spread() -> None:
    (axes,) = plots.compare_bounds({"one": {"values": [-3.0]}}).axes
    (bars,) = axes.containers
    assert isinstance(bars, ErrorbarContainer)
    assert not bars.has_xerr


def test_a_gradient_without_noise_is_a_written_zero() -> None:
    figure = plots.compare_bounds({"exact": {"gradient_variance": {"guide": 0.0, "model": 1e-2}}})
    (axes,) = figure.axes
    assert [t.get_text().strip() for t in axes.texts] == ["0"]
    assert len(axes.patches) == 1


def test_bounds_without_a_figure_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        plots.compare_bounds({"one": {"values": []}, "two": {}})


# --- save ----------------------------------------------------------------------------------------


def test_save_writes_a_png_and_nothing_of_the_machine(tmp_path: Path) -> None:
    path = plots.save(plots.samples(IMAGES), str(tmp_path / "samples.png"))
    assert path == tmp_path / "samples.png"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.png"]
    with Image.open(path) as image:
        assert image.size[0] == 960
        assert set(image.info) <= {"dpi"}
        corner = image.convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)


def test_a_save_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.png"
    path.write_bytes(b"old")

    def full(self: Path, target: object) -> None:
        assert Path(target).parent == self.parent == tmp_path  # type: ignore[arg-type]
        assert self.read_bytes().startswith(b"\x89PNG")  # whole before it takes the name
        assert path.read_bytes() == b"old"
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        plots.save(plots.samples(IMAGES), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.png"]
