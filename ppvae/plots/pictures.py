"""Reconstructions, imputations and draws."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images, as_table, data_array, value_range
from ppvae.plots.columns import PLAIN, Columns
from ppvae.plots.mosaic import mosaic, mounted, paint, scale_note
from ppvae.plots.style import (
    SEQUENTIAL,
    VERMILLION,
    Look,
    headline,
    house_style,
    new_figure,
    settle,
    stacked,
)

LARGE = 48
"""Pixels of a side from which an image has details that want room."""


def gap_between(height: int) -> int:
    """Gap in pixels between pictures of a height."""
    return max(1, round(height / 14))


def _fill(painted: Array, rows: int, columns: int) -> Array:
    """``(N, ...)`` as ``(rows, columns, ...)``; the remaining cells are empty."""
    tiles = np.full((rows * columns, *painted.shape[1:]), np.nan)
    tiles[: len(painted)] = painted
    return tiles.reshape(rows, columns, *painted.shape[1:])


def entitle(title: str, shown: int, total: int) -> str:
    """A title that says how many are shown, if not all."""
    return title if shown == total else f"{title} ({shown} of {total})"


def label_columns(
    figure: Figure,
    panels: Sequence[Axes],
    title: str,
    columns: Columns,
    ranges: Sequence[str] = (),
) -> None:
    """Label panels with a shared axis of columns."""
    columns.label(panels[-1], ranges)
    figure.supylabel(columns.value, fontsize=11)
    figure.align_ylabels(panels)
    headline(figure, title)


@house_style
def reconstructions(
    originals: npt.ArrayLike,
    means: npt.ArrayLike,
    *,
    title: str = "Data and reconstructions",
    columns: Columns = PLAIN,
    greys: npt.ArrayLike | None = None,
) -> Figure:
    """Data and their reconstructions, the means of p(x | z) at their codes, on one scale.

    Args:
        originals: ``(N, C, H, W)`` images with C 1 or 3, or ``(N, H, W)``; else a table ``(N, D)``.
            The first 32 images, or 5 rows, are drawn.
        means: the same shape.
        title: title of the figure.
        columns: the columns of a table.
        greys: the intensities that the originals were binarized from, in the same shape.

    Raises:
        InputError: there is nothing to draw, or the shapes differ.

    """
    data = data_array(originals, "originals", 2)
    rebuilt = data_array(means, "means", 2)
    if data.shape != rebuilt.shape:
        raise InputError(
            f"originals and means must have the same shape; they have {data.shape} and "
            f"{rebuilt.shape}"
        )
    images, rebuilt_images = as_images(data, 1), as_images(rebuilt, 1)
    if images is not None and rebuilt_images is not None:
        before = None if greys is None else as_images(data_array(greys, "greys", 2), 1)
        if before is None:
            return _layers({"data": images, "reconstruction": rebuilt_images}, title)
        layers = {"data": before, "binarized": images, "reconstruction": rebuilt_images}
        return _layers(layers, title)

    table, rebuilt = (columns.shown(as_table(each, 1)[:5]) for each in (data, rebuilt))
    ranges = columns.ranges(table, rebuilt)
    low, width = columns.scale(table, rebuilt)
    table, rebuilt = (table - low) / width, (rebuilt - low) / width
    figure, panels = stacked(len(table), 1.4 + 1.25 * len(table))
    places = np.arange(table.shape[1])
    few = bool(columns.names) or len(places) <= 64
    dots: Look = {"marker": "o", "markersize": 4.5} if few else {}
    crosses: Look = {"marker": "x", "markersize": 6} if few else {}
    for i, axes in enumerate(panels):
        if columns.names:  # named columns have no order
            axes.vlines(places, table[i], rebuilt[i], color="#BBBBBB", linewidth=1)
            dots, crosses = dots | {"linestyle": "none"}, crosses | {"linestyle": "none"}
        axes.plot(places, table[i], color="#000000", linewidth=1, label="data", **dots)
        axes.plot(places, rebuilt[i], color=VERMILLION, label="reconstruction", **crosses)
        axes.set_ylabel(f"datum {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        settle(axes)
    label_columns(figure, panels, entitle(title, len(table), len(data)), columns, ranges)
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _layers(layers: Mapping[str, Array], title: str) -> Figure:
    """Rows of up to eight data, or four photographs, each in layers one below the other.

    All are on one scale.
    """
    total = len(next(iter(layers.values())))
    shown = [images[:32] for images in layers.values()]
    limits = value_range(*shown)
    count, _, height, width = shown[0].shape
    # Wide images take fewer columns: a row must be as high as its label.
    most = 4 if min(height, width) >= LARGE else 8
    columns = min(most, count, max(1, int(16 * height / width)))
    blocks, deep = -(-count // columns), len(shown)
    tiles = np.stack(
        [_fill(paint(part, limits), blocks, columns) for part in shown], axis=1
    ).reshape(deep * blocks, columns, height, width, 3)
    gap = gap_between(height)
    gaps = [0 if r == 0 else gap if r % deep else 4 * gap for r in range(deep * blocks)]
    sheet, tops = mosaic(tiles, gaps, gap)
    note = scale_note(np.concatenate(shown), limits)
    figure, axes = mounted(sheet, left=1.25, title=entitle(title, count, total), note=note)
    axes.set_yticks([top + (height - 1) / 2 for top in tops], labels=list(layers) * blocks)
    settle(axes)
    axes.tick_params(length=0)
    return figure


@house_style
def imputations(
    x: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    scale: npt.ArrayLike | None = None,
    truth: npt.ArrayLike | None = None,
    title: str = "Data with missing entries, and what is imputed",
    columns: Columns = PLAIN,
) -> Figure:
    """Data with missing entries, with imputed entries, and complete if they are known.

    Args:
        x: ``(N, C, H, W)`` images with C 1 or 3, or ``(N, H, W)``; else a table ``(N, D)``. The
            first 32 images, or 5 rows, are drawn.
        mask: True where x was observed; elsewhere x is imputed; the same shape.
        scale: standard deviations of imputed entries, drawn as bars in a table.
        truth: the complete data.
        title: title of the figure.
        columns: the columns of a table.

    Raises:
        InputError: there is nothing to draw, or the shapes differ.

    """
    data, seen = data_array(x, "x", 2), np.asarray(mask, dtype=bool)
    known = {name: a for name, a in (("scale", scale), ("truth", truth)) if a is not None}
    rest = {name: data_array(array, name, 2) for name, array in known.items()}
    for name, shape in [("mask", seen.shape), *((name, a.shape) for name, a in rest.items())]:
        if shape != data.shape:
            raise InputError(
                f"x and {name} must have the same shape; they have {data.shape} and {shape}"
            )
    layers = {"observed": np.where(seen, data, np.nan), "imputed": data}
    if "truth" in rest:
        layers["truth"] = rest["truth"]
    images = {name: as_images(layer, 1) for name, layer in layers.items()}
    pictures = {name: each for name, each in images.items() if each is not None}
    if pictures:
        return _layers(pictures, title)
    tables = {name: as_table(a, 1) for name, a in (layers | rest).items()}
    low, width = columns.scale(*(a[:5] for name, a in tables.items() if name != "scale"))
    drawn = {name: (a if name == "scale" else a - low) / width for name, a in tables.items()}
    return _filled_rows(drawn, title, columns)


def _filled_rows(layers: Mapping[str, Array], title: str, table: Columns) -> Figure:
    """One panel per datum: dots for observed values, crosses with bars for imputed ones."""
    total, width = layers["observed"].shape
    count, columns = min(5, total), np.arange(width)
    figure, panels = stacked(count, 1.4 + 1.25 * count)
    size = 4.5 if width <= 64 else 2.0
    dots: Look = {"color": "#000000", "marker": "o", "markersize": size, "linestyle": "none"}
    crosses: Look = {"color": VERMILLION, "fmt": "x", "markersize": 1.3 * size, "elinewidth": 1.2}
    for i, axes in enumerate(panels):
        row = {name: layer[i] for name, layer in layers.items()}
        holes = ~np.isfinite(row["observed"])
        axes.plot(columns, row["observed"], label="observed", **dots)
        if "truth" in row:
            truth = row["truth"][holes]
            axes.plot(columns[holes], truth, label="truth", markerfacecolor="white", **dots)
        bars = row["scale"][holes] if "scale" in row else None
        label = "imputed" if bars is None else "imputed, and its standard deviation"
        axes.errorbar(columns[holes], row["imputed"][holes], bars, label=label, **crosses)
        axes.set_ylabel(f"datum {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        settle(axes)
    label_columns(figure, panels, entitle(title, count, total), table)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


@house_style
def samples(
    means: npt.ArrayLike, *, title: str = "Draws from the model", columns: Columns = PLAIN
) -> Figure:
    """Draws from the model: images as a nearly square grid, a table as a heat map.

    Args:
        means: ``(N, C, H, W)`` or ``(N, H, W)`` images, else a table ``(N, D)``; the first 400.
        title: title of the figure.
        columns: the columns of a table.

    Raises:
        InputError: there is nothing to draw.

    """
    data = data_array(means, "means", 2)
    total, data = len(data), data[:400]
    title = entitle(title, len(data), total)
    images = as_images(data, 1)
    if images is not None:
        limits = value_range(images)
        across = math.ceil(math.sqrt(len(images)))
        rows = -(-len(images) // across)
        gap = gap_between(images.shape[-1])
        tiles = _fill(paint(images, limits), rows, across)
        sheet, _ = mosaic(tiles, [0] + [gap] * (rows - 1), gap)
        return mounted(sheet, left=0.4, title=title, note=scale_note(images, limits))[0]
    figure = new_figure(4.4)
    axes = figure.add_subplot()
    table = as_table(data, 1)
    low, width = columns.scale(table)
    heat_map = axes.imshow(
        np.ma.masked_invalid((table - low) / width),
        aspect="auto",
        interpolation="nearest",
        cmap=SEQUENTIAL,
    )
    axes.set_title(title)
    axes.set_ylabel("draw")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    columns.label(axes)
    settle(axes)
    bar = figure.colorbar(heat_map, ax=axes, label=columns.value)
    bar.outline.set_visible(False)
    settle(bar.ax)
    return figure
