"""Numbers to pictures: each function takes arrays and returns a figure; nothing else changes.

Figures are built as objects, without pyplot, and in one house style that overrides the reader's
matplotlib settings while a figure is drawn and leaves them as they were. All are as wide as each
other, so that they share a page with one size of type.

Colours are those of Okabe and Ito, told apart by colour-blind readers too, then twelve more with
another marker. A label keeps its colour from figure to figure.
"""

import functools
import io
import math
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter

from ppvae.errors import InputError

type Array = npt.NDArray[np.float64]
type Limits = tuple[float, float]
type Look = dict[str, Any]  # how an artist is drawn

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#6E6E6E"
OKABE_ITO = (
    *(BLUE, "#E69F00", "#009E73", VERMILLION),
    *("#56B4E9", "#CC79A7", "#F0E442", "#000000"),
)
PALETTE = (
    *OKABE_ITO,
    *("#8C8C8C", "#7F4A1E", "#332288", "#999933", "#882255", "#44AA99"),
    *("#AA4499", "#117733", "#CC6677", "#6699CC", "#DDCC77", "#661100"),
)
_MARKERS = "o^sD"  # one for each eight colours
_MISSING = np.array([0.78, 0.86, 0.93])  # a value that is not there, in an image
# Viridis without its yellow end, which a white page swallows.
_SEQUENTIAL = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), "ppvae")

_WIDTH = 6.4  # inches, of every figure
_DPI = 150
# White between the dashes keeps a line visible over thousands of points.
_DASHED: Look = {
    "color": GREY,
    "gapcolor": "white",
    "linewidth": 1.2,
    "linestyle": (0, (4, 3)),
}
_PRIOR: Look = {**_DASHED, "color": "#444444", "linewidth": 1.8}
_NATS = "nats per datum"
_VALUE = "value, as modelled"

_STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 11,
    "axes.edgecolor": "#8A8A8A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.titlesize": 12,
    "figure.facecolor": "white",
    "figure.dpi": _DPI,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.5,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}


def _house[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Run ``draw`` in the house style, whatever the user's own; put theirs back after."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return styled


def _figure(height: float) -> Figure:
    engine = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    return Figure(figsize=(_WIDTH, height), layout=engine)


def _headline(figure: Figure, title: str) -> None:
    """Name a figure of several panels, at the left as each panel is."""
    figure.suptitle(title, x=0.01, ha="left")


def _settle(axes: Axes) -> None:
    """Fix what matplotlib would otherwise look up among the user's settings when it draws."""
    axes.tick_params(which="both", labelsize=11, color="#8A8A8A", labelcolor="#333333")


def _grid(axes: Axes, axis: str) -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x" if axis == "x" else "y", color="#E6E6E6", linewidth=0.8)


def _stacked(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """``count`` panels above each other on one x axis."""
    figure = _figure(height)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)
    return figure, list(panels[:, 0])


def _short(name: str, most: int) -> str:
    """A name with its middle left out where it is long: both ends tell names apart."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------------------------------------
# The course of a fit


def _points(values: Array) -> str:
    return "1 point" if len(values) == 1 else f"{len(values)} points"


class _Window(NamedTuple):
    """The part of a curve worth its room, and a sentence about what is outside."""

    limits: Limits | None
    outside: str


def _window(series: Sequence[Array], keep: Sequence[float] = ()) -> _Window:
    """Limits that show where curves settle rather than how badly they began.

    The middle nine tenths and their neighbourhood, the last point of each curve and ``keep`` are
    always inside; all is, where that costs little room.
    """
    values = np.concatenate([s[np.isfinite(s)] for s in series] or [np.empty(0)])
    if not len(values):
        return _Window(None, "no finite value")
    low, high = float(values.min()), float(values.max())
    if max(len(s) for s in series) >= 8:
        bottom, top = np.quantile(values, [0.1, 0.9])
        spread = top - bottom
        last = [float(s[np.isfinite(s)][-1]) for s in series if np.isfinite(s).any()]
        anchors = [*last, *(k for k in keep if math.isfinite(k))]
        inner_low = max(low, min(bottom - 0.75 * spread, *anchors))
        inner_high = min(high, max(top + 0.75 * spread, *anchors))
        if high - low > 2 * (inner_high - inner_low) > 0:
            low, high = float(inner_low), float(inner_high)
    margin = 0.06 * (high - low) or max(1e-3, 0.05 * abs(high))
    low, high = low - margin, high + margin
    below, above = values[values < low], values[values > high]
    said = []
    if len(below):
        said.append(f"{_points(below)} below the axis, to {_number(below.min())}")
    if len(above):
        said.append(f"{_points(above)} above the axis, to {_number(above.max())}")
    return _Window((low, high), "; ".join(said))


def _absent(value: object) -> bool:
    return value is None or value == ""


def _column(
    rows: Sequence[Mapping[str, float | str | None]], split: str, name: str
) -> tuple[Array, Array]:
    """Epochs and values of one column in one split; of a repeated epoch, the last."""
    found: dict[float, float] = {}
    for row in rows:
        value, epoch = row.get(name) or 0.0, row.get("epoch") or 0.0
        if row.get("split") == split and not _absent(row.get(name)):
            found[float(epoch)] = float(value)
    epochs = np.array(sorted(found), dtype=np.float64)
    return epochs, np.array([found[e] for e in epochs], dtype=np.float64)


def _shade_beta(panels: Sequence[Axes], epochs: Array, beta: Array) -> Patch | None:
    """Shade the epochs whose KL weight is not yet the last one."""
    other = ~np.isclose(beta, beta[-1]) if len(beta) else np.zeros(0, dtype=bool)
    if not other.any():
        return None
    look: Look = {"facecolor": "#EFEFEF", "edgecolor": "none"}
    edges = np.flatnonzero(np.diff(np.concatenate([[0], other.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        for axes in panels:
            axes.axvspan(epochs[start], epochs[min(stop, len(epochs) - 1)], zorder=0, **look)
    if (np.diff(beta) >= 0).all():
        name = f"warm-up, β from {_number(beta[0])} to {_number(beta[-1])}"
    else:
        name = f"β not yet {_number(beta[-1])} ({_number(beta.min())} to {_number(beta.max())})"
    return Patch(label=name, **look)


@_house
def history(
    rows: Sequence[Mapping[str, float | str | None]], *, best_epoch: int | None = None
) -> Figure:
    """The bound and its two terms, epoch by epoch, as ``metrics.csv`` has them.

    Args:
        rows: one for each epoch and split, with ``epoch``, ``split`` ("train", "valid"; others are
            passed over), ``elbo``, ``reconstruction``, ``kl`` (nats per datum) and perhaps
            ``beta``. Numbers may be text; ``None`` and ``""`` mean absent.
        best_epoch: the epoch whose weights were kept, to be marked.

    Values from before the fit settled may be outside the axes; how many, and how far, is written
    above the panel. Where ``elbo`` is absent there is no panel for it, and a title says why.

    Raises:
        InputError: no row holds a number to draw.

    """
    splits = {"train": (BLUE, 1.5), "valid": (VERMILLION, 2.6)}  # the thinner on top
    curves = {
        name: {split: _column(rows, split, name) for split in splits}
        for name in ("elbo", "reconstruction", "kl")
    }
    drawn = [n for n, by in curves.items() if any(np.isfinite(v).any() for _, v in by.values())]
    if not drawn:
        raise InputError(
            f"there is no history to draw: none of {len(rows)} rows has a finite elbo, "
            "reconstruction or kl for the split train or valid"
        )
    never = {n: all(_absent(row.get(n)) for row in rows) for n in curves}
    by_epoch = {e: b for s in splits for e, b in zip(*_column(rows, s, "beta"), strict=True)}
    beta_epochs = np.array(sorted(by_epoch), dtype=np.float64)
    beta = np.array([by_epoch[e] for e in beta_epochs], dtype=np.float64)

    titles = {"elbo": "Bound (ELBO)", "reconstruction": "Reconstruction", "kl": "KL to the prior"}
    if len(beta) and not np.allclose(beta, 1.0):
        titles["elbo"] = "Bound (ELBO, at β = 1)"
    figure, panels = _stacked(len(drawn), 0.9 + 2.1 * len(drawn))
    for axes, name in zip(panels, drawn, strict=True):
        keep = []
        for split, (colour, width) in splits.items():
            epochs, values = curves[name][split]
            shown = np.where(np.isfinite(values), values, np.nan)
            marker = "o" if len(epochs) <= 20 else ""
            line: Look = {"color": colour, "linewidth": width, "zorder": 4 - width}
            axes.plot(epochs, shown, marker=marker, markersize=4, **line)
            at_best = values[epochs == best_epoch]
            keep.extend(at_best)
            if split == "valid" and best_epoch is not None and len(at_best):
                dot: Look = {"markersize": 7, "markeredgecolor": "white", "zorder": 4}
                axes.plot([best_epoch], at_best, color=colour, marker="o", **dot)
        window = _window([v for _, v in curves[name].values()], keep)
        if window.limits:
            axes.set_ylim(*window.limits)
        axes.set_title(titles[name])
        axes.set_title(window.outside, loc="right", fontsize=11, color=GREY)
        axes.set_ylabel(_NATS)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        _grid(axes, "y")
        _settle(axes)
        if best_epoch is not None:
            axes.axvline(best_epoch, zorder=1, **_DASHED)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    figure.align_ylabels(panels)

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, linewidth=width, label=split)
        for split, (colour, width) in splits.items()
        if any(len(curves[n][split][0]) for n in drawn)
    ]
    if best_epoch is not None:
        handles.append(Line2D([], [], label=f"best epoch, {best_epoch}", **_DASHED))
    shade = _shade_beta(panels, beta_epochs, beta)
    if shade is not None:
        handles.append(shade)
    elif len(beta) and not math.isclose(beta[-1], 1.0) and "elbo" in drawn:
        handles.append(
            Line2D([], [], linestyle="none", label=f"climbed at β = {_number(beta[-1])}")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    if "elbo" not in drawn:
        if never["elbo"] and never["kl"]:
            _headline(figure, "There is no bound: the guide is a point mass")
        else:
            _headline(figure, "There is no bound to show: no finite one is on record")
    return figure


# ---------------------------------------------------------------------------------------------
# Data, drawn


def _finite_array(values: npt.ArrayLike, what: str, least_ndim: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < least_ndim or not array.size:
        raise InputError(f"{what} must be an array of data, not empty; its shape is {array.shape}")
    return array


def _as_images(data: Array, lead: int) -> Array | None:
    """``(*lead, C, H, W)`` where the data are images of 1 or 3 channels, or None."""
    if data.ndim - lead == 2:
        return np.expand_dims(data, lead)
    if data.ndim - lead == 3 and data.shape[lead] in (1, 3):
        return data
    return None


def _as_table(data: Array, lead: int) -> Array:
    return data.reshape(*data.shape[:lead], -1)


def _value_range(*arrays: Array) -> Limits:
    """One scale for all: 0 to 1 for what lies in it, else from the least to the greatest."""
    finite = [a[np.isfinite(a)] for a in arrays]
    low = min((float(a.min()) for a in finite if a.size), default=0.0)
    high = max((float(a.max()) for a in finite if a.size), default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def _paint(images: Array, limits: Limits) -> Array:
    """``(..., C, H, W)`` of any range as ``(..., H, W, 3)`` in [0, 1]; what is missing is blue."""
    low, high = limits
    rgb = np.moveaxis(images, -3, -1)
    missing = ~np.isfinite(rgb).all(axis=-1)
    painted = np.clip((rgb - low) / (high - low), 0.0, 1.0)
    painted = np.ascontiguousarray(np.broadcast_to(painted, (*painted.shape[:-1], 3)))
    painted[missing] = _MISSING
    return painted


def _scale_note(images: Array, limits: Limits) -> str:
    low, high = (_number(float(f"{limit:.3g}")) for limit in limits)
    note = f"black {low}, white {high}"
    if images.shape[-3] == 3:
        note = f"each colour from {low} to {high}"
    return note if np.isfinite(images).all() else f"{note}, pale blue missing"


def _mosaic(tiles: Array, row_gaps: Sequence[int], column_gap: int) -> tuple[Array, list[int]]:
    """Tiles ``(rows, columns, H, W, 3)`` on white, and the top of each row.

    ``row_gaps[r]`` is the room above row r, in pixels.
    """
    rows, columns, height, width, _ = tiles.shape
    tops = [int(sum(row_gaps[: r + 1])) + r * height for r in range(rows)]
    sheet = np.ones((tops[-1] + height, columns * (width + column_gap) - column_gap, 3))
    for r, top in enumerate(tops):
        for c in range(columns):
            left = c * (width + column_gap)
            sheet[top : top + height, left : left + width] = tiles[r, c]
    return sheet, tops


def _gap(height: int) -> int:
    return max(1, round(height / 14))


def _fill(painted: Array, rows: int, columns: int) -> Array:
    """``(N, ...)`` as ``(rows, columns, ...)``, the cells that are left over white."""
    tiles = np.ones((rows * columns, *painted.shape[1:]))
    tiles[: len(painted)] = painted
    return tiles.reshape(rows, columns, *painted.shape[1:])


def _sheet(sheet: Array, *, left: float, title: str, note: str) -> tuple[Figure, Axes]:
    """A picture with room for its labels at the ``left``, a title and a note on its colours."""
    tall, wide = sheet.shape[:2]
    width = _WIDTH - left
    height = min(width * tall / wide, 8.0)
    if wide < 3 * tall and wide < 48:  # a few small pictures need no page
        height = min(height, 3.6)
    figure = _figure(height + 0.9)
    axes = figure.add_subplot()
    axes.imshow(sheet, interpolation="auto")
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    figure.supxlabel(note, fontsize=11, color=GREY)
    return figure, axes


def _entitle(title: str, shown: int, total: int) -> str:
    return title if shown == total else f"{title} ({shown} of {total})"


def _column_axis(axes: Axes) -> None:
    axes.set_xlabel("column index")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@_house
def reconstructions(
    originals: npt.ArrayLike, means: npt.ArrayLike, *, title: str = "Data and reconstructions"
) -> Figure:
    """Each datum and the mean of p(x | z) at its code, on one scale.

    Args:
        originals: ``(N, C, H, W)`` images with C 1 or 3, or ``(N, H, W)``; anything else is a
            table ``(N, D)``. Of images the first 32 are drawn, of a table the first 5.
        means: the same shape.
        title: said above.

    Raises:
        InputError: there is nothing to draw, or the shapes differ.

    """
    data = _finite_array(originals, "originals", 2)
    rebuilt = _finite_array(means, "means", 2)
    if data.shape != rebuilt.shape:
        raise InputError(
            f"originals and means must have one shape; they have {data.shape} and {rebuilt.shape}"
        )
    images, rebuilt_images = _as_images(data, 1), _as_images(rebuilt, 1)
    if images is not None and rebuilt_images is not None:
        return _image_pairs(images, rebuilt_images, title)

    table, rebuilt = _as_table(data, 1)[:5], _as_table(rebuilt, 1)[:5]
    figure, panels = _stacked(len(table), 1.4 + 1.25 * len(table))
    columns = np.arange(table.shape[1])
    dots: Look = {"marker": "o", "markersize": 4.5} if len(columns) <= 64 else {}
    crosses: Look = {"marker": "x", "markersize": 6} if len(columns) <= 64 else {}
    for i, axes in enumerate(panels):
        axes.plot(columns, table[i], color="#000000", linewidth=1, label="data", **dots)
        axes.plot(columns, rebuilt[i], color=VERMILLION, label="reconstruction", **crosses)
        axes.set_ylabel(f"datum {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        _settle(axes)
    _column_axis(panels[-1])
    figure.supylabel(_VALUE, fontsize=11)
    figure.align_ylabels(panels)
    _headline(figure, _entitle(title, len(table), len(data)))
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _image_pairs(images: Array, rebuilt: Array, title: str) -> Figure:
    """Rows of up to eight data, the reconstruction of each below it."""
    total = len(images)
    images, rebuilt = images[:32], rebuilt[:32]
    limits = _value_range(images, rebuilt)
    # Wide images take fewer columns: a row must be as high as its label.
    wide = images.shape[3] / images.shape[2]
    columns = min(8, len(images), max(1, int(16 / wide)))
    blocks = -(-len(images) // columns)
    tiles = np.stack(
        [_fill(_paint(part, limits), blocks, columns) for part in (images, rebuilt)], axis=1
    ).reshape(2 * blocks, columns, *images.shape[2:], 3)
    height = images.shape[2]
    gap = _gap(height)
    gaps = [0 if r == 0 else gap if r % 2 else 4 * gap for r in range(2 * blocks)]
    sheet, tops = _mosaic(tiles, gaps, gap)
    both = np.concatenate([images, rebuilt])
    shown = _entitle(title, len(images), total)
    figure, axes = _sheet(sheet, left=1.25, title=shown, note=_scale_note(both, limits))
    axes.set_yticks(
        [top + (height - 1) / 2 for top in tops], labels=["data", "reconstruction"] * blocks
    )
    _settle(axes)
    axes.tick_params(length=0)
    return figure


@_house
def samples(means: npt.ArrayLike, *, title: str = "Draws from the model") -> Figure:
    """What the model says data look like: images as a near-square grid, a table as a heat map.

    Args:
        means: ``(N, C, H, W)`` or ``(N, H, W)`` images, else a table ``(N, D)``; the first 400.
        title: said above.

    Raises:
        InputError: there is nothing to draw.

    """
    data = _finite_array(means, "means", 2)
    total, data = len(data), data[:400]
    title = _entitle(title, len(data), total)
    images = _as_images(data, 1)
    if images is not None:
        limits = _value_range(images)
        columns = math.ceil(math.sqrt(len(images)))
        rows = -(-len(images) // columns)
        gap = _gap(images.shape[-1])
        tiles = _fill(_paint(images, limits), rows, columns)
        sheet, _ = _mosaic(tiles, [0] + [gap] * (rows - 1), gap)
        return _sheet(sheet, left=0.4, title=title, note=_scale_note(images, limits))[0]
    figure = _figure(4.4)
    axes = figure.add_subplot()
    drawn = axes.imshow(
        np.ma.masked_invalid(_as_table(data, 1)),
        aspect="auto",
        interpolation="nearest",
        cmap=_SEQUENTIAL,
    )
    axes.set_title(title)
    axes.set_ylabel("draw")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _column_axis(axes)
    _settle(axes)
    bar = figure.colorbar(drawn, ax=axes, label=_VALUE)
    bar.outline.set_visible(False)
    _settle(bar.ax)
    return figure


@_house
def interpolation(means: npt.ArrayLike, *, title: str = "From one datum to another") -> Figure:
    """Walks through the latent space, decoded.

    Args:
        means: ``(rows, steps, *shape)``; row by row, from the code of one datum (t = 0) to that
            of another (t = 1) in equal steps. Of images the first 12 rows are drawn, of a table
            the first 5.
        title: said above.

    Raises:
        InputError: there is nothing to draw.

    """
    data = _finite_array(means, "means", 3)
    total, steps = data.shape[:2]
    images = _as_images(data, 2)
    if images is None:
        return _table_walks(_as_table(data, 2)[:5], _entitle(title, min(5, total), total))
    images = images[:12]
    limits = _value_range(images)
    height, width = images.shape[-2:]
    gap = 2 * _gap(height)
    rows = len(images)
    sheet, tops = _mosaic(_paint(images, limits), [0] + [gap] * (rows - 1), gap)
    figure, axes = _sheet(
        sheet, left=0.6, title=_entitle(title, rows, total), note=_scale_note(images, limits)
    )
    lefts = [step * (width + gap) for step in range(steps)]
    ends = {0: BLUE, steps - 1: VERMILLION}
    for step, colour in ends.items():
        for top in tops:
            corner = (lefts[step] - 0.5, top - 0.5)
            axes.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2.5)
            )
    axes.set_xlim(-0.5 - gap / 2, sheet.shape[1] - 0.5 + gap / 2)
    axes.set_ylim(sheet.shape[0] - 0.5 + gap / 2, -0.5 - gap / 2)
    places = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    some = range(steps) if steps <= 11 else (0, steps - 1)
    axes.set_xticks(
        [lefts[i] + (width - 1) / 2 for i in some], labels=[f"{places[i]:.2g}" for i in some]
    )
    axes.set_xlabel("t, from one datum's code (0) to another's (1)")
    axes.tick_params(length=0, labelsize=11)
    for step, colour in ends.items():
        label = axes.get_xticklabels()[-1 if step else 0]
        label.set_color(colour)
        label.set_fontweight("bold")
    return figure


def _table_walks(walks: Array, title: str) -> Figure:
    rows, steps, columns = walks.shape
    figure, panels = _stacked(rows, 1.4 + 1.4 * rows)
    scale = Normalize(0.0, 1.0)
    places = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    for i, axes in enumerate(panels):
        for step in range(steps):
            end = step in (0, steps - 1)
            axes.plot(
                np.arange(columns),
                walks[i, step],
                color=_SEQUENTIAL(scale(places[step])),
                linewidth=2.6 if end else 1.0,
                marker="o" if columns <= 64 and end else "",
                markersize=4.5,
                zorder=3 if end else 2,
            )
        axes.set_ylabel(f"walk {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        _settle(axes)
    _column_axis(panels[-1])
    figure.supylabel(_VALUE, fontsize=11)
    figure.align_ylabels(panels)
    _headline(figure, title)
    mappable = mpl.cm.ScalarMappable(norm=scale, cmap=_SEQUENTIAL)
    bar = figure.colorbar(mappable, ax=panels, label="t, from one datum (0) to another (1)")
    bar.outline.set_visible(False)
    _settle(bar.ax)
    return figure


# ---------------------------------------------------------------------------------------------
# The latent space


class _Labels(NamedTuple):
    """Labels as colours: ``place[n]`` into ``names``, -1 where there is none, or ``values``."""

    place: npt.NDArray[np.int64]
    names: list[str]
    values: Array | None


def _read_labels(labels: npt.ArrayLike, names: Sequence[str] | None, count: int) -> _Labels:
    """Tell classes from a continuous covariate.

    Text, truth values and whole numbers of at most twenty sorts are classes; so is what has
    ``names``. A class keeps its place, hence its colour, where other classes are missing: whole
    numbers from 0 are their own place, and names give theirs.
    """
    given = np.asarray(labels)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != (count,):
        raise InputError(f"labels must be one for each of {count} data; the shape is {given.shape}")
    if given.dtype.kind not in "iuf":
        text = [str(v) for v in given]
        order = list(names) if names is not None else sorted(set(text))
        places = {name: i for i, name in enumerate(order)}
        unknown = sorted(set(text) - set(places))
        if unknown:
            raise InputError(f"label {unknown[0]!r} is not among label_names: {', '.join(order)}")
        return _Labels(np.array([places[t] for t in text], dtype=np.int64), order, None)
    number = given.astype(np.float64)
    there = np.isfinite(number)
    sorts = np.unique(number[there])
    whole = bool((sorts == np.round(sorts)).all())
    index = np.full(count, -1, dtype=np.int64)
    if names is not None:
        if not whole or (len(sorts) and not 0 <= sorts[0] <= sorts[-1] < len(names)):
            bad = [s for s in sorts if s != round(s) or not 0 <= s < len(names)]
            raise InputError(
                f"label {_number(bad[0])} has no name: label_names holds {len(names)}, "
                f"for labels 0 to {len(names) - 1}"
            )
        index[there] = number[there].astype(np.int64)
        return _Labels(index, list(names), None)
    if whole and len(sorts) <= len(PALETTE):
        if len(sorts) and sorts[0] >= 0 and sorts[-1] < len(PALETTE):
            sorts = np.arange(sorts[-1] + 1)
        index[there] = np.searchsorted(sorts, number[there])
        return _Labels(index, [_number(s) for s in sorts], None)
    return _Labels(index, [], number)


def _class_colours(count: int) -> Array:
    """A colour for each class; beyond twenty they come again, with another marker."""
    again = [PALETTE[i % len(PALETTE)] for i in range(count)]
    return np.asarray(to_rgba_array(again), dtype=np.float64).reshape(count, 4)


def _class_legend(
    figure: Figure, labels: _Labels, markers: str, extra: Sequence[Line2D | Patch]
) -> None:
    """The classes that occur, in their order, at the right of the figure."""
    colours = _class_colours(len(labels.names))
    present = [int(i) for i in np.unique(labels.place) if i >= 0]
    handles: list[Line2D | Patch] = [
        Line2D(
            *([], []),
            linestyle="none",
            marker=markers[i // 8 % len(markers)],
            markersize=7,
            color=colours[i],
            label=_short(labels.names[i], 22),
        )
        for i in present[:20]
    ]
    if len(present) > 20:
        handles.append(Line2D([], [], linestyle="none", label=f"and {len(present) - 20} more"))
    if (labels.place < 0).any() and labels.values is None:
        look: Look = {"linestyle": "none", "marker": markers[0], "markersize": 7}
        handles.append(Line2D([], [], color="#CFCFCF", label="no label", **look))
    handles.extend(extra)
    if handles:
        figure.legend(handles=handles, loc="outside right upper")


def _scatter(figure: Figure, axes: Axes, points: Array, labels: _Labels | None) -> None:
    """All points in one shuffled order, so that no class lies on top of the rest."""
    (x, y), count = points.T, len(points)
    dots: Look = {
        "s": float(np.clip(12_000 / count, 7, 30)),
        "alpha": float(np.clip(3000 / count, 0.45, 0.85)),
        "linewidths": 0,
        "rasterized": True,
    }
    order = np.random.default_rng(0).permutation(count)
    if labels is None:
        axes.scatter(x, y, color=BLUE, **dots)
        return
    if labels.values is not None:
        there = np.isfinite(labels.values)
        if not there.all():
            axes.scatter(x[~there], y[~there], color="#CFCFCF", **dots)
        order = order[there[order]]
        drawn = axes.scatter(x[order], y[order], c=labels.values[order], cmap=_SEQUENTIAL, **dots)
        bar = figure.colorbar(drawn, ax=axes, label="label")
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
        _settle(bar.ax)
        return
    if (labels.place < 0).any():
        axes.scatter(x[labels.place < 0], y[labels.place < 0], color="#CFCFCF", **dots)
    colours = _class_colours(len(labels.names))
    for turn, marker in enumerate(_MARKERS):
        mine = order[(labels.place[order] >= 0) & (labels.place[order] // 8 % 4 == turn)]
        if len(mine):
            axes.scatter(x[mine], y[mine], c=colours[labels.place[mine]], marker=marker, **dots)


def _to_plane(codes: Array) -> tuple[Array, tuple[str, str]]:
    """The two directions in which codes vary most, and what to call them."""
    if codes.shape[1] == 2 or len(codes) < 2 or not codes.var(axis=0).sum() > 0:
        return codes[:, :2], ("$z_1$", "$z_2$")
    from sklearn.decomposition import PCA  # type: ignore[import-untyped, unused-ignore]

    pca = PCA(n_components=2, svd_solver="full")
    plane = np.asarray(pca.fit_transform(codes), dtype=np.float64)
    first, second = (
        f"principal component {i} ({share:.1%} of variance)"
        for i, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    return plane, (first, second)


@_house
def latent(
    loc: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    label_names: Sequence[str] | None = None,
    *,
    prior_circles: bool = False,
    title: str = "Codes of the data",
) -> Figure:
    """Where the guide puts each datum: one latent as a histogram, two as they are, more by PCA.

    Args:
        loc: ``(N, L)``, the means of q(z | x).
        labels: ``(N,)``. Text, truth values and up to twenty different whole numbers are classes
            with a legend; other numbers are a covariate with a colour bar. NaN is "no label".
        label_names: the name of label k at place k; or, for labels that are text, their order.
        prior_circles: the prior is a standard normal: mark one and two of its standard
            deviations (of one or two latents; more are not drawn as they are).
        title: said above.

    Raises:
        InputError: there is nothing to draw, or labels and data do not fit.

    """
    codes = _finite_array(loc, "loc", 2)
    if codes.ndim != 2:
        raise InputError(f"loc must be (data, latents); its shape is {codes.shape}")
    read = None if labels is None else _read_labels(labels, label_names, len(codes))
    finite = np.isfinite(codes).all(axis=1)
    if not finite.any():
        raise InputError("loc holds no finite code: the fit has diverged")
    if not finite.all():
        title = f"{title} ({(~finite).sum()} of {len(finite)} not finite, left out)"
        codes = codes[finite]
        if read is not None:
            values = None if read.values is None else read.values[finite]
            read = _Labels(read.place[finite], read.names, values)

    figure = _figure(4.9)
    axes = figure.add_subplot()
    axes.set_title(title)
    extra: list[Line2D | Patch] = []
    if prior_circles and codes.shape[1] <= 2:
        extra.append(Line2D([], [], label="prior, 1 and 2 sd", **_PRIOR))
    if codes.shape[1] == 1:
        _line_of_codes(axes, codes[:, 0], read)
        if prior_circles:
            for place in (-2, -1, 1, 2):
                axes.axvline(place, **_PRIOR)
    else:
        points, (across, up) = _to_plane(codes)
        _scatter(figure, axes, points, read)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_aspect("equal", adjustable="datalim")
        if prior_circles and codes.shape[1] == 2:
            turn = np.linspace(0, 2 * np.pi, 181)
            for radius in (1, 2):
                axes.plot(radius * np.cos(turn), radius * np.sin(turn), zorder=3, **_PRIOR)
    _settle(axes)
    if read is not None and read.values is None:
        _class_legend(figure, read, "s" if codes.shape[1] == 1 else _MARKERS, extra)
    elif extra:
        figure.legend(handles=extra, loc="outside lower center")
    return figure


def _line_of_codes(axes: Axes, codes: Array, labels: _Labels | None) -> None:
    """One latent: a histogram stacked by class, or a covariate against it."""
    axes.set_xlabel("$z_1$")
    if labels is not None and labels.values is not None:
        there = np.isfinite(labels.values)
        look: Look = {"s": 12, "alpha": 0.6, "linewidths": 0, "rasterized": True}
        axes.scatter(codes[there], labels.values[there], color=BLUE, **look)
        axes.set_ylabel("label")
        return
    bins = np.histogram_bin_edges(codes, bins=min(60, max(10, round(math.sqrt(len(codes))))))
    if labels is None:
        axes.hist(codes, bins=bins.tolist(), color=BLUE)
    else:
        colours = _class_colours(len(labels.names))
        present = [int(i) for i in np.unique(labels.place)]
        axes.hist(
            [codes[labels.place == i] for i in present],
            bins=bins.tolist(),
            color=["#CFCFCF" if i < 0 else tuple(colours[i]) for i in present],
            stacked=True,
        )
    axes.set_ylabel("data per bin")


@_house
def manifold(
    means: npt.ArrayLike, grid: npt.ArrayLike, *, title: str = "The latent plane, decoded"
) -> Figure:
    """The mean of p(x | z) all over the plane of two latents.

    Args:
        means: ``(rows, columns, *shape)``: images as one mosaic, anything else as small curves.
        grid: ``(rows, columns, 2)``, the z of each; or ``(n,)``, with ``means[i, j]`` decoded at
            z1 = ``grid[j]``, z2 = ``grid[i]``. In whatever order it comes, z1 grows to the right
            and z2 upwards.
        title: said above.

    Raises:
        InputError: there is nothing to draw, or the grid does not fit.

    """
    data = _finite_array(means, "means", 3)
    rows, columns = data.shape[:2]
    z1, z2 = _read_grid(np.asarray(grid, dtype=np.float64), rows, columns)
    data = data[np.argsort(-z2)][:, np.argsort(z1)]
    z1, z2 = np.sort(z1), -np.sort(-z2)
    images = _as_images(data, 2)
    if images is not None:
        height, width = images.shape[-2:]
        limits = _value_range(images)
        sheet, _ = _mosaic(_paint(images, limits), [0] * rows, 0)
        note = _scale_note(images, limits)
        figure, axes = _sheet(sheet, left=0.9, title=title, note=note)
    else:
        height = width = 1
        figure = _figure(5.4)
        axes = figure.add_subplot()
        axes.set_title(title)
        _sparklines(axes, _as_table(data, 2))
        limits = _value_range(data)
        figure.supxlabel(
            f"each curve: value by column, from {_number(limits[0])} to {_number(limits[1])}",
            fontsize=11,
            color=GREY,
        )
    for axis, values, size, most in (
        (axes.xaxis, z1, width, 7),
        (axes.yaxis, z2, height, 9),
    ):
        stride = -(-len(values) // most)
        some = range((len(values) - 1) % stride // 2, len(values), stride)
        axis.set_ticks(
            [i * size + (size - 1) / 2 for i in some],
            labels=[_number(round(values[i], 2)) for i in some],
        )
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    _settle(axes)
    return figure


def _read_grid(grid: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """z1 of each column, z2 of each row."""
    if grid.ndim == 1 and rows == columns == len(grid):
        return grid, grid
    if grid.shape == (rows, columns, 2):
        z1, z2 = grid[0, :, 0], grid[:, 0, 1]
        if np.allclose(grid[..., 0], z1) and np.allclose(grid[..., 1], z2[:, None]):
            return z1, z2
        raise InputError("grid must be rectangular: z1 one value a column, z2 one value a row")
    raise InputError(
        f"grid must be ({rows}, {columns}, 2), or one value for each row and column alike; "
        f"its shape is {grid.shape}"
    )


def _sparklines(axes: Axes, table: Array) -> None:
    """``(rows, columns, D)``: a curve in each cell, cell (r, c) centred at (c, r), row 0 on top."""
    rows, columns, width = table.shape
    low, high = _value_range(table)
    if width == 1:
        table = np.repeat(table, 2, axis=2)
    across = np.linspace(-0.4, 0.4, table.shape[2])
    curves = [
        np.column_stack([c + across, r + 0.4 - 0.8 * (table[r, c] - low) / (high - low)])
        for r in range(rows)
        for c in range(columns)
    ]
    axes.add_collection(LineCollection(curves, colors=BLUE, linewidths=1.2))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


# ---------------------------------------------------------------------------------------------
# Two bounds side by side


def _numbers(values: object) -> Array:
    """The finite ones among a number, a sequence of them, or nothing."""
    array = np.atleast_1d(np.asarray([] if values is None else values, dtype=np.float64)).ravel()
    return array[np.isfinite(array)]


def _by_row(axes: Axes, count: int, title: str, units: str) -> None:
    """A panel with one row for each bound, the first on top; the legend names them."""
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title(title)
    axes.set_xlabel(units)
    _grid(axes, "x")


def _few_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(2))


def _draw_points(
    axes: Axes, bounds: Mapping[str, Mapping[str, Any]], field: str, *, of_mean: bool
) -> None:
    """The numbers of each bound as points, their mean, and the spread of them or of the mean."""
    jitter = np.random.default_rng(0)
    for row, (summary, colour) in enumerate(zip(bounds.values(), OKABE_ITO * 9, strict=False)):
        values = _numbers(summary.get(field))
        if not len(values):
            continue
        heights = row + 0.1 + jitter.uniform(-0.16, 0.16, len(values))
        look: Look = {"alpha": 0.5 if len(values) > 12 else 0.8, "linewidths": 0}
        axes.scatter(values, heights, s=18, color=colour, rasterized=True, **look)
        # One number has a mean and no spread.
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        if spread is not None and of_mean:
            spread /= math.sqrt(len(values))
        mean = float(values.mean())
        axes.errorbar(
            mean, row - 0.22, xerr=spread, color="#222222", marker="o", markersize=5, capsize=4
        )


def _draw_groups(axes: Axes, bounds: Mapping[str, Mapping[str, Any]], field: str) -> bool:
    """Bars on a log axis, one row of them for each group of parameters."""
    groups = list(dict.fromkeys(g for s in bounds.values() for g in s.get(field) or {}))
    if not groups:
        return False
    height = 0.8 / len(bounds)
    values = {
        (row, g): float(summary[field][group])
        for row, summary in enumerate(bounds.values())
        for g, group in enumerate(groups)
        if group in (summary.get(field) or {})
    }
    positive = [v for v in values.values() if v > 0 and math.isfinite(v)]
    axes.set_xscale("log")
    low, high = (min(positive), max(positive)) if positive else (1.0, 1.0)
    floor = 10.0 ** (math.floor(math.log10(low) - 0.3))
    axes.set_xlim(floor, max(high * (high / floor) ** 0.08, 11 * floor))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for (row, g), value in values.items():
        place = g - 0.4 + (row + 0.5) * height
        if value > 0 and math.isfinite(value):
            colour = OKABE_ITO[row % 8]
            axes.barh(place, value - floor, left=floor, height=0.9 * height, color=colour)
        else:
            axes.text(floor, place, f" {_number(value)}", va="center", fontsize=11, color=GREY)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.set_yticks(
        range(len(groups)), labels=[g if len(g) <= 15 else "…" + g[-14:] for g in groups]
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _grid(axes, "x")
    return True


def _draw_curves(axes: Axes, bounds: Mapping[str, Mapping[str, Any]]) -> None:
    climbs = []
    for summary, colour in zip(bounds.values(), OKABE_ITO * 9, strict=False):
        for steps, bound in summary.get("curves") or ():
            values = np.asarray(bound, dtype=np.float64)
            axes.plot(np.asarray(steps), values, color=colour, linewidth=1.3, alpha=0.8)
            climbs.append(values)
    window = _window(climbs)
    if window.limits:
        axes.set_ylim(*window.limits)
    axes.set_title("Bound by step, each seed")
    axes.set_xlabel("\n".join(["step", *filter(None, window.outside.split("; "))]))
    axes.set_ylabel(_NATS)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    _grid(axes, "y")


def _draw_cost(axes: Axes, bounds: Mapping[str, Mapping[str, Any]]) -> None:
    costs = [_numbers(summary.get("ms_per_step")) for summary in bounds.values()]
    for row, cost in enumerate(costs):
        if len(cost):
            axes.barh(row, cost[0], height=0.6, color=OKABE_ITO[row % 8])
            axes.text(cost[0], row, f" {cost[0]:.3g}", va="center", fontsize=11)
    axes.set_xlim(0, 1.22 * max(float(c[0]) for c in costs if len(c)))


@_house
def compare_bounds(bounds: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Bounds side by side on one program: same value, what noise, what cost, how far they get.

    Args:
        bounds: for each name of a bound (at most eight) a mapping with any of

            - ``values``: repeated estimates of the bound on the same weights (nats per datum);
            - ``gradient_variance``, ``snr``: a figure for each group of parameters;
            - ``ms_per_step``: a number;
            - ``curves``: for each seed ``(steps, bound)`` of the climb;
            - ``held_out``: for each seed the held-out bound after equal steps (nats per datum).

            What no bound has gets no panel.

    Raises:
        InputError: no bound has anything to draw.

    """

    def any_has(field: str) -> bool:
        return any(len(_numbers(summary.get(field))) for summary in bounds.values())

    panels: list[Callable[[Axes], None]] = []
    count = len(bounds)

    def values(axes: Axes) -> None:
        _by_row(axes, count, "Estimates, same weights", f"{_NATS}\nmean ± sd")
        _draw_points(axes, bounds, "values", of_mean=False)
        _few_ticks(axes)

    def cost(axes: Axes) -> None:
        _by_row(axes, count, "Cost", "ms per step")
        _draw_cost(axes, bounds)
        _few_ticks(axes)

    def variance(axes: Axes) -> None:
        _draw_groups(axes, bounds, "gradient_variance")
        axes.set_title("Gradient variance")
        axes.set_xlabel(f"({_NATS})²")

    def snr(axes: Axes) -> None:
        _draw_groups(axes, bounds, "snr")
        axes.set_title("Gradient SNR")
        axes.set_xlabel("|mean| / sd")

    def held_out(axes: Axes) -> None:
        _by_row(axes, count, "Held out, by seed", f"{_NATS}\nmean ± se")
        _draw_points(axes, bounds, "held_out", of_mean=True)
        _few_ticks(axes)

    if any_has("values"):
        panels.append(values)
    if any_has("ms_per_step"):
        panels.append(cost)
    if any(summary.get("gradient_variance") for summary in bounds.values()):
        panels.append(variance)
    if any(summary.get("snr") for summary in bounds.values()):
        panels.append(snr)
    if any(summary.get("curves") for summary in bounds.values()):
        panels.append(lambda axes: _draw_curves(axes, bounds))
    if any_has("held_out"):
        panels.append(held_out)
    if not panels:
        raise InputError(f"there is nothing to compare: {len(bounds)} bounds, and no figure of any")

    rows = -(-len(panels) // 2)
    figure = _figure(0.6 + 2.5 * rows)
    cells = figure.add_gridspec(rows, 2)
    for i, draw in enumerate(panels):
        alone = i == len(panels) - 1 and i % 2 == 0
        axes = figure.add_subplot(cells[i // 2, :] if alone else cells[i // 2, i % 2])
        draw(axes)
        _settle(axes)
    handles = [Patch(color=OKABE_ITO[i % 8], label=name) for i, name in enumerate(bounds)]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


# ---------------------------------------------------------------------------------------------


@_house
def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a PNG, whole or not at all: the same figure gives the same bytes.

    Where things go is settled by the first save; what is added to the figure later finds no room
    made for it.

    Args:
        figure: any.
        path: the file; its folder must exist. A file that is there is replaced.

    Returns:
        The path.

    """
    target = Path(path)
    picture = io.BytesIO()
    # matplotlib signs what it writes with its version, which would change the bytes.
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()  # one pass does not always find room for a legend
    figure.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
    # A second pass of the layout would start from the first one's result and move a pixel.
    figure.set_layout_engine("none")
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        draft.write_bytes(picture.getvalue())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
