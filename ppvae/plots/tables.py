"""Columns of tables, by name and in their units: data next to draws."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, data_array
from ppvae.plots.columns import Columns
from ppvae.plots.style import (
    BLUE,
    GREY,
    VERMILLION,
    WIDTH,
    Look,
    headline,
    house_style,
    new_figure,
    panel_grid,
    settle,
)
from ppvae.plots.text import few_numbers, fitted

_MOST = 12
_PAIRED = 4
_COUNTS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000)
_WIDE = 50.0  # counts from here are drawn as log(1 + count)

type _Draw = Callable[[Axes, Array, Array, int], None]


@house_style
def marginals(
    data: npt.ArrayLike, draws: npt.ArrayLike, columns: Columns, *, title: str = "Data and draws"
) -> Figure:
    """Each column of the data next to that of draws from the model.

    Real numbers are drawn as densities, counts and categories as shares of rows. Tables of more
    than 12 columns have one point per column, its mean and its standard deviation in data and
    draws; of counts, those of log(1 + count).

    Args:
        data: ``(N, D)``, in the units of the columns; NaN was not observed.
        draws: ``(M, D)``, drawn from the model.
        columns: names, kinds and levels of the D columns.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, or the shapes do not fit.

    """
    table, drawn = _tables(data, draws, columns)
    if len(columns.names) > _MOST:
        return _moments(table, drawn, columns, title)

    def draw(axes: Axes, own: Array, other: Array, place: int) -> None:
        _draw_marginal(axes, own, other, columns, place)

    figure = _of_columns(table, drawn, columns, title, draw)
    figure.legend(handles=_keys(""), loc="outside lower center", ncols=2)
    return figure


@house_style
def rebuilt_columns(
    data: npt.ArrayLike,
    means: npt.ArrayLike,
    columns: Columns,
    *,
    title: str = "Data and reconstructions",
) -> Figure:
    """Each column of the data against its reconstruction: on the diagonal they are equal.

    Args:
        data: ``(N, D)``, in the units of the columns; NaN was not observed.
        means: ``(N, D)``, the means of p(x | z) at the codes; of a category the most likely level.
        columns: names, kinds and levels of the D columns; of more than 12 all are in one panel.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, or the shapes do not fit.

    """
    table, rebuilt = _tables(data, means, columns)
    if len(columns.names) > _MOST:
        figure = new_figure(4.6)
        axes = figure.add_subplot()
        _against(axes, *(_all_columns(each, columns).ravel() for each in (table, rebuilt)))
        unit = "log(1 + count)" if columns.is_counts else "value, standardized"
        axes.set_title(title)
        axes.set_xlabel(f"data: {unit}")
        axes.set_ylabel(f"reconstruction: {unit}")
        settle(axes)
        return figure

    def draw(axes: Axes, own: Array, other: Array, place: int) -> None:
        levels = columns.levels_of(place)
        if levels:
            _confusion(axes, own, other, levels)
        else:
            _against(axes, own, other)

    figure = _of_columns(table, rebuilt, columns, title, draw)
    figure.supxlabel("data", fontsize=11)
    figure.supylabel("reconstruction", fontsize=11)
    return figure


@house_style
def pairs(
    data: npt.ArrayLike,
    draws: npt.ArrayLike,
    columns: Columns,
    *,
    title: str = "Pairs of columns, data and draws",
) -> Figure:
    """Pairs of the first four columns of real numbers: data over draws from the model.

    Args:
        data: ``(N, D)``, in the units of the columns.
        draws: ``(M, D)``, drawn from the model.
        columns: names, kinds and levels of the D columns.
        title: title of the figure.

    Raises:
        InputError: fewer than two columns are real, or the shapes do not fit.

    """
    table, drawn = _tables(data, draws, columns)
    real = [i for i in range(table.shape[1]) if columns.kind_of(i) == "real"][:_PAIRED]
    if len(real) < 2:
        raise InputError(f"pairs need two columns of real numbers; there are {len(real)}")
    side = len(real) - 1
    figure = new_figure(min(6.8, 1.1 + 1.9 * side))
    cells: Any = figure.subplots(side, side, squeeze=False, sharex="col", sharey="row")
    dots: Look = {"linewidths": 0, "rasterized": True, "s": 11}
    for r, c in np.ndindex(side, side):
        axes = cells[r, c]
        if c > r:
            axes.remove()
            continue
        across, up = real[c], real[r + 1]
        axes.scatter(drawn[:, across], drawn[:, up], color=VERMILLION, alpha=0.35, **dots)
        axes.scatter(table[:, across], table[:, up], color=BLUE, alpha=0.7, **dots)
        if r == side - 1:
            axes.set_xlabel(fitted(columns.names[across], (WIDTH - 0.8) / side))
        if c == 0:
            axes.set_ylabel(fitted(columns.names[up], 1.6))
        few_numbers(axes.yaxis, 3)
        few_numbers(axes.xaxis, 3)
        settle(axes)
    headline(figure, title)
    figure.legend(handles=_keys("o"), loc="outside lower center", ncols=2)
    return figure


def _tables(data: npt.ArrayLike, other: npt.ArrayLike, columns: Columns) -> tuple[Array, Array]:
    table, second = data_array(data, "data", 2), data_array(other, "draws", 2)
    if table.shape[1:] != second.shape[1:] or table.shape[1:] != (len(columns.names),):
        raise InputError(
            f"both tables must have the {len(columns.names)} named columns; their shapes "
            f"are {table.shape} and {second.shape}"
        )
    return table, second


def _of_columns(table: Array, other: Array, columns: Columns, title: str, draw: _Draw) -> Figure:
    """A panel for each column."""
    count = len(columns.names)
    across = min(3, count)
    figure, panels = panel_grid(count, across, around=1.1, each=1.75)
    for place, axes in enumerate(panels):
        draw(axes, table[:, place], other[:, place], place)
        name = fitted(columns.names[place], WIDTH / across - 0.45, size=9)
        axes.set_title(name, fontsize=9)
        settle(axes)
    headline(figure, title)

    return figure


def _keys(marker: str) -> list[Line2D]:
    line: Look = {"linestyle": "none" if marker else "-", "marker": marker}
    return [
        Line2D([], [], color=colour, label=name, **line)
        for colour, name in ((BLUE, "data"), (VERMILLION, "draws from the model"))
    ]


def _draw_marginal(axes: Axes, own: Array, other: Array, columns: Columns, place: int) -> None:
    own, other = own[np.isfinite(own)], other[np.isfinite(other)]
    levels, kind = columns.levels_of(place), columns.kind_of(place)
    if levels:
        _shares(axes, own, other, len(levels))
        _name_levels(axes, levels)
        return
    if kind == "count" and max([0.0, *own, *other]) <= 12:
        _shares(axes, own, other, int(max([0.0, *own, *other])) + 1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return
    every = np.concatenate([own, other])
    is_log = kind == "count" and len(every) and every.max() > _WIDE
    if is_log:
        own, other, every = np.log1p(own), np.log1p(other), np.log1p(every)
    if len(own):
        # A few outlying draws must not take most of the room.
        middle = np.quantile(every, [0.005, 0.995])
        low, high = min(own.min(), middle[0]), max(own.max(), middle[1])
        count = min(24, max(8, round(math.sqrt(len(own)))))
        bins = np.linspace(low, high if high > low else low + 1.0, count).tolist()
        step: Look = {"histtype": "step", "density": True, "linewidth": 1.8}
        for rows, colour in ((own, BLUE), (other, VERMILLION)):
            axes.hist(rows, bins=bins, color=colour, **step)
    axes.set_ylim(0, None)
    axes.set_yticks([])
    few_numbers(axes.xaxis, 3)
    if is_log:
        ticks = [t for t in _COUNTS if t <= np.expm1(every.max())]
        some = ticks[:: max(1, len(ticks) // 4)]
        axes.set_xticks(np.log1p(some).tolist(), labels=[f"{t:,}" for t in some])


def _name_levels(axes: Axes, levels: Sequence[str]) -> None:
    room = (WIDTH / 3 - 0.8) / len(levels)
    if all(fitted(level, room) == level for level in levels):
        axes.set_xticks(range(len(levels)), labels=levels)
        return
    slant: Look = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    stride = -(-len(levels) // 8)
    some = range(0, len(levels), stride)
    axes.set_xticks(list(some), labels=[fitted(levels[i], 0.8) for i in some], **slant)


def _shares(axes: Axes, own: Array, other: Array, count: int) -> None:
    """The share of rows with each value from 0, in data and draws."""
    values = np.arange(count)
    for offset, rows, colour in ((-0.2, own, BLUE), (0.2, other, VERMILLION)):
        shares = [(rows.round() == value).mean() if len(rows) else 0.0 for value in values]
        axes.bar(values + offset, shares, width=0.38, color=colour)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))


def _against(axes: Axes, own: Array, rebuilt: Array) -> None:
    """One point per datum, and the diagonal."""
    seen = np.isfinite(own) & np.isfinite(rebuilt)
    own, rebuilt = own[seen], rebuilt[seen]
    size = float(np.clip(6000 / max(1, len(own)), 4, 14))
    dots: Look = {"s": size, "linewidths": 0, "alpha": 0.6, "rasterized": True}
    axes.scatter(own, rebuilt, color=BLUE, **dots)
    if len(own):
        low, high = float(min(own.min(), rebuilt.min())), float(max(own.max(), rebuilt.max()))
        axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=0)
    few_numbers(axes.xaxis, 3)
    few_numbers(axes.yaxis, 3)


def _confusion(axes: Axes, own: Array, rebuilt: Array, levels: Sequence[str]) -> None:
    """One disc per pair of levels; its area is the share of rows."""
    seen = np.isfinite(own) & np.isfinite(rebuilt)
    pairs_of = np.stack([own[seen], rebuilt[seen]], axis=1).round().astype(int)
    found, counts = np.unique(pairs_of, axis=0, return_counts=True)
    if len(found):
        is_right = found[:, 0] == found[:, 1]
        colours = [BLUE if right else VERMILLION for right in is_right]
        axes.scatter(
            found[:, 0], found[:, 1], s=420 * counts / counts.sum(), c=colours, linewidths=0
        )
        right = counts[is_right].sum() / counts.sum()
        axes.set_xlabel(f"{right:.0%} right", color=GREY)
    _name_levels(axes, levels)
    axes.set_yticks(range(len(levels)), labels=[fitted(level, 0.8) for level in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_ylim(-0.5, len(levels) - 0.5)


def _moments(table: Array, drawn: Array, columns: Columns, title: str) -> Figure:
    """One point per column: its mean and standard deviation in data and draws."""
    unit = ", log(1 + count)" if columns.is_counts else ", standardized"
    own, other = (_all_columns(each, columns) for each in (table, drawn))
    figure, panels = panel_grid(2, 2, around=0.8, each=2.9)
    moments: dict[str, Callable[..., Array]] = {"Mean": np.nanmean, "Standard deviation": np.nanstd}
    for axes, (name, moment) in zip(panels, moments.items(), strict=True):
        _against(axes, moment(own, axis=0), moment(other, axis=0))
        axes.set_title(name)
        axes.set_xlabel(f"data{unit}")
        axes.set_ylabel("draws from the model")
        settle(axes)
    headline(figure, f"{title}: a point for each of {len(columns.names)} columns")
    return figure


def _all_columns(table: Array, columns: Columns) -> Array:
    """Values of all columns on one scale."""
    if columns.is_counts:
        return np.log1p(np.maximum(table, 0.0))
    spread = np.nanstd(table, axis=0)
    scaled: Array = (table - np.nanmean(table, axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled
