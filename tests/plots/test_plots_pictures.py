"""Pictures of data show their pixels on one scale."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ppvae import plots
from ppvae.errors import InputError
from tests.support.drawings import CAPTIONS, IMAGES, TABLE, Array, legend, picture, rng


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
    with pytest.raises(InputError, match="non-empty"):
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
    image = np.arange(16.0).reshape(4, 4) / 15
    np.testing.assert_allclose(picture(plots.interpolation(image[None, None, None]))[..., 0], image)
    (line,) = plots.interpolation(TABLE[None, :1]).axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), TABLE[0])


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


def test_columns_of_several_kinds_are_each_drawn_over_their_range_under_their_names() -> None:
    columns = plots.Columns(("mass", "kind", "eggs"), is_mixed=True)
    x = np.array([[3000.0, 0, 4], [5000.0, 2, np.nan], [4000.0, 1, 8]])
    figure = plots.reconstructions(x, x[::-1], columns=columns)
    drawn = [[line.get_ydata() for line in axes.get_lines()] for axes in figure.axes]
    want = np.array([[0, 0, 0], [1, 1, np.nan], [0.5, 0.5, 1]])
    np.testing.assert_array_equal([data for data, _ in drawn], want)
    np.testing.assert_array_equal([rebuilt for _, rebuilt in drawn], want[::-1])
    said = [t.get_text() for t in figure.axes[-1].get_xticklabels()]
    assert said == ["mass\n3000 to 5000", "kind\n0 to 2", "eggs\n4 to 8"]
    assert figure.get_supylabel() == "share of the column's range"
    (image,) = plots.samples(x, columns=columns).axes[0].get_images()
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(image.get_array()), np.nan), want)
    filled = plots.imputations(
        np.nan_to_num(x), np.isfinite(x), scale=np.full(x.shape, 4.0), columns=columns
    )
    np.testing.assert_array_equal(filled.axes[0].get_lines()[0].get_ydata(), [0, 0, 0.5])
    walk = plots.interpolation(x[None], columns=columns)
    lines = {line.get_label(): line for line in walk.axes[0].get_lines()}
    assert list(lines) == ["mass", "kind", "eggs"]
    for name, values in zip(lines, want.T, strict=True):
        np.testing.assert_array_equal(lines[name].get_xdata(), [0, 0.5, 1])
        np.testing.assert_array_equal(lines[name].get_ydata(), values)
    named = plots.samples(TABLE, columns=plots.Columns([f"c{i}" for i in range(7)]))
    assert named.axes[0].get_xticklabels()[6].get_text() == "c6"
    np.testing.assert_array_equal(named.axes[0].get_images()[0].get_array(), TABLE)
