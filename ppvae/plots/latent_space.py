"""Codes of the data."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, data_array
from ppvae.plots.style import (
    BLUE,
    DASHED,
    PALETTE,
    SEQUENTIAL,
    SHAPES,
    UNKNOWN,
    Look,
    class_look,
    four_digits,
    house_style,
    new_figure,
    settle,
)

_MARKERS = "o^sD"  # indexed by the second value of `class_look`
_PRIOR: Look = {**DASHED, "color": "#444444", "linewidth": 1.8}


class _Labels(NamedTuple):
    """Labels as colours: index ``place[n]`` into ``names``, -1 for none; or ``values``."""

    place: npt.NDArray[np.int64]
    names: list[str]
    values: Array | None


def _read_labels(labels: npt.ArrayLike, names: Sequence[str] | None, count: int) -> _Labels:
    """Read labels as classes or as a continuous covariate.

    Text, Booleans and integers of at most twenty values are classes; so are labels with ``names``.
    A class keeps its index, hence its colour, if other classes are missing: integers from 0 are
    their own index, and names define it.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise InputError(f"labels must be one per datum, ({count},); their shape is {array.shape}")
    if array.dtype.kind not in "iuf":
        text = [str(v) for v in array]
        order = list(names) if names is not None else sorted(set(text))
        places = {name: i for i, name in enumerate(order)}
        unknown = sorted(set(text) - set(places))
        if unknown:
            raise InputError(f"label {unknown[0]!r} is not among label_names: {', '.join(order)}")
        return _Labels(np.array([places[t] for t in text], dtype=np.int64), order, None)
    number = array.astype(np.float64)
    there = np.isfinite(number)
    sorts = np.unique(number[there])
    whole = bool((sorts == np.round(sorts)).all())
    index = np.full(count, -1, dtype=np.int64)
    if names is not None:
        if not whole or (len(sorts) and not 0 <= sorts[0] <= sorts[-1] < len(names)):
            bad = [s for s in sorts if s != round(s) or not 0 <= s < len(names)]
            raise InputError(
                f"label {four_digits(bad[0])} has no name: label_names has {len(names)}, "
                f"for labels 0 to {len(names) - 1}"
            )
        index[there] = number[there].astype(np.int64)
        return _Labels(index, list(names), None)
    if whole and len(sorts) <= len(PALETTE):
        if len(sorts) and sorts[0] >= 0 and sorts[-1] < len(PALETTE):
            sorts = np.arange(sorts[-1] + 1)
        index[there] = np.searchsorted(sorts, number[there])
        return _Labels(index, [four_digits(s) for s in sorts], None)
    return _Labels(index, [], number)


def _class_colours(count: int) -> Array:
    """A colour for each class; beyond twenty they repeat, with another marker."""
    return np.asarray(
        to_rgba_array([class_look(i)[0] for i in range(count)]), dtype=np.float64
    ).reshape(count, 4)


def _short(name: str, most: int) -> str:
    """A name, with the middle of a long one left out: both ends distinguish names."""
    half = (most - 1) // 2
    short = name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
    return short.replace("$", r"\$")  # two of them would delimit mathematics


def _class_legend(figure: Figure, labels: _Labels, markers: str) -> None:
    """Legend of the classes that occur, in order, at the right of the figure."""
    colours = _class_colours(len(labels.names))
    present = [int(i) for i in np.unique(labels.place) if i >= 0]
    handles: list[Line2D | Patch] = [
        Line2D(
            *([], []),
            linestyle="none",
            marker=markers[class_look(i)[1] % len(markers)],
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
        handles.append(Line2D([], [], color=UNKNOWN, label="no label", **look))
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
            axes.scatter(x[~there], y[~there], color=UNKNOWN, **dots)
        order = order[there[order]]
        drawn = axes.scatter(x[order], y[order], c=labels.values[order], cmap=SEQUENTIAL, **dots)
        bar = figure.colorbar(drawn, ax=axes, label="label")
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
        settle(bar.ax)
        return
    if (labels.place < 0).any():
        axes.scatter(x[labels.place < 0], y[labels.place < 0], color=UNKNOWN, **dots)
    colours = _class_colours(len(labels.names))
    for turn, marker in enumerate(_MARKERS):
        mine = order[(labels.place[order] >= 0) & (labels.place[order] // 8 % SHAPES == turn)]
        if len(mine):
            axes.scatter(x[mine], y[mine], c=colours[labels.place[mine]], marker=marker, **dots)


def _to_plane(codes: Array) -> tuple[Array, tuple[str, str]]:
    """Codes along their two principal components, and the labels of these."""
    if codes.shape[1] == 2 or len(codes) < 2 or not codes.var(axis=0).sum() > 0:
        return codes[:, :2], ("$z_1$", "$z_2$")
    centred = codes - codes.mean(axis=0)
    _, scales, components = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary: make its largest entry positive.
    largest = np.abs(components).argmax(axis=1)[:, None]
    components = components * np.sign(np.take_along_axis(components, largest, axis=1))
    plane = np.asarray(centred @ components[:2].T, dtype=np.float64)
    first, second = (
        f"principal component {i} ({share:.1%} of variance)"
        for i, share in enumerate(scales[:2] ** 2 / (scales**2).sum(), start=1)
    )
    return plane, (first, second)


@house_style
def latent(
    loc: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    label_names: Sequence[str] | None = None,
    *,
    prior_circles: bool = False,
    scale: npt.ArrayLike | None = None,
    marks: Mapping[str, npt.ArrayLike] = {},
    title: str = "Codes of the data",
) -> Figure:
    """Codes of the data: one latent as a histogram, two as a scatter plot, more by PCA.

    Args:
        loc: ``(N, L)``, the means of q(z | x).
        labels: ``(N,)``. Text, Booleans and up to twenty different integers are classes with a
            legend; other numbers are a covariate with a colour bar. NaN means "no label".
        label_names: the name of label k at index k; or, for text labels, their order.
        prior_circles: mark one and two standard deviations of a standard normal prior (of one or
            two latents only).
        scale: ``(n, 2)``, the standard deviations of q(z | x) of the first n data, drawn as
            ellipses; for two latents.
        marks: marked points, by name, ``(2,)`` each; for two latents.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, or labels and data do not fit.

    """
    codes = data_array(loc, "loc", 2)
    if codes.ndim != 2:
        raise InputError(f"loc must be (data, latents); its shape is {codes.shape}")
    if codes.shape[1] != 2 and (scale is not None or marks):
        raise InputError(f"ellipses and marks need two latents; loc has {codes.shape[1]}")
    spread = np.zeros((0, 2)) if scale is None else data_array(scale, "scale", 2)
    read = None if labels is None else _read_labels(labels, label_names, len(codes))
    finite = np.isfinite(codes).all(axis=1)
    if not finite.any():
        raise InputError("loc holds no finite code: the fit has diverged")
    if not finite.all():
        title = f"{title} ({(~finite).sum()} of {len(finite)} not finite, left out)"
        codes, spread = codes[finite], spread[finite[: len(spread)]]
        if read is not None:
            values = None if read.values is None else read.values[finite]
            read = _Labels(read.place[finite], read.names, values)

    figure = new_figure(4.9)
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
        if codes.shape[1] == 2:
            _ellipses(axes, codes, spread)
            extra += [_mark(axes, i, *marked) for i, marked in enumerate(marks.items())]
    settle(axes)
    if read is not None and read.values is None:
        _class_legend(figure, read, "s" if codes.shape[1] == 1 else _MARKERS)
    if extra:
        figure.legend(handles=extra, loc="outside lower center", ncols=2)
    return figure


def _ellipses(axes: Axes, codes: Array, scale: Array) -> None:
    """One standard deviation of q(z | x) around the first codes."""
    around = EllipseCollection(
        2 * scale[:, 0], 2 * scale[:, 1], np.zeros(len(scale)), units="xy",
        offsets=codes[: len(scale)], transOffset=axes.transData,
        facecolors="none", edgecolors="black", linewidths=0.6, alpha=0.7, zorder=4,
    )  # fmt: skip
    axes.add_collection(around)


def _mark(axes: Axes, place: int, name: str, point: npt.ArrayLike) -> Line2D:
    """A point of the plane, named in the legend."""
    across, up = np.asarray(point, float)
    (drawn,) = axes.plot(
        across, up, "X*PDv"[place % 5], color="black", markeredgecolor="white", markersize=13,
        linestyle="none", label=name, zorder=5,
    )  # fmt: skip
    return drawn


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
            color=[UNKNOWN if i < 0 else tuple(colours[i]) for i in present],
            stacked=True,
        )
    axes.set_ylabel("data per bin")
