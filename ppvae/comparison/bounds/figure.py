"""Figure of two bounds on one program."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.log_axes import label_decades
from ppvae.plots.style import (
    GREY,
    NATS,
    OKABE_ITO,
    Look,
    four_digits,
    grid_lines,
    house_style,
    new_figure,
    settle,
)
from ppvae.plots.window import window_on


def _numbers(values: object) -> Array:
    """The finite numbers of a number, a sequence, or ``None``."""
    array = np.atleast_1d(np.asarray([] if values is None else values, dtype=np.float64)).ravel()
    return array[np.isfinite(array)]


def _by_row(axes: Axes, count: int, title: str, units: str) -> None:
    """A panel with one row for each bound, the first on top; the legend names them."""
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title(title)
    axes.set_xlabel(units)
    axes.xaxis.set_major_locator(MaxNLocator(2))
    grid_lines(axes, "x")


def _draw_points(
    axes: Axes, bounds: Mapping[str, Mapping[str, Any]], field: str, *, of_mean: bool
) -> None:
    """The numbers of each bound as points, with their mean, and its error or their deviation."""
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


def _draw_groups(axes: Axes, bounds: Mapping[str, Mapping[str, Any]], field: str) -> None:
    """Dots on a log axis, one row per group of parameters.

    The length of a bar would depend on where the axis begins.
    """
    groups = list(dict.fromkeys(g for s in bounds.values() for g in s.get(field) or {}))
    values = {
        (row, g): float(summary[field][group])
        for row, summary in enumerate(bounds.values())
        for g, group in enumerate(groups)
        if group in (summary.get(field) or {})
    }
    positive = np.array([v for v in values.values() if v > 0 and math.isfinite(v)] or [1.0])
    low, high = float(positive.min()) / 1.6, float(positive.max()) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    label_decades(axes, "x", low, high)
    for (row, g), value in values.items():
        place = g + (row - (len(bounds) - 1) / 2) * 0.5 / len(bounds)
        if value > 0 and math.isfinite(value):
            axes.plot(value, place, "o", color=OKABE_ITO[row % 8], markersize=9)
        else:
            axes.text(low, place, f" {four_digits(value)}", va="center", fontsize=11, color=GREY)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    names = [(g if len(g) <= 15 else "…" + g[-14:]).replace(".", ".\n") for g in groups]
    axes.set_yticks(range(len(groups)), labels=names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid_lines(axes, "x")


def _draw_curves(axes: Axes, bounds: Mapping[str, Mapping[str, Any]]) -> None:
    curves = []
    for summary, colour in zip(bounds.values(), OKABE_ITO * 9, strict=False):
        for steps, bound in summary.get("curves") or ():
            values = np.asarray(bound, dtype=np.float64)
            marker = "o" if len(values) <= 20 else ""
            look: Look = {"color": colour, "linewidth": 1.3, "alpha": 0.8, "markersize": 4}
            axes.plot(np.asarray(steps), values, marker=marker, **look)
            curves.append(values)
    window = window_on(curves)
    if window.limits:
        axes.set_ylim(*window.limits)
    axes.set_title("Bound by step, each seed")
    axes.set_xlabel("\n".join(["step", *filter(None, window.outside.split("; "))]))
    axes.set_ylabel(NATS)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    grid_lines(axes, "y")


def _draw_cost(axes: Axes, bounds: Mapping[str, Mapping[str, Any]]) -> None:
    _by_row(axes, len(bounds), "Cost", "ms per step")
    costs = [_numbers(summary.get("ms_per_step")) for summary in bounds.values()]
    for row, cost in enumerate(costs):
        if len(cost):
            axes.barh(row, cost[0], height=0.6, color=OKABE_ITO[row % 8])
            axes.text(cost[0], row, f" {cost[0]:.3g}", va="center", fontsize=11)
    axes.set_xlim(0, 1.22 * max(float(c[0]) for c in costs if len(c)))


@house_style
def draw_glance(bounds: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Differences of bounds: gradient noise, and held-out bound by step.

    Args:
        bounds: as for `draw_comparison`.

    Raises:
        InputError: no bound has either.

    """
    wanted: list[tuple[bool, Callable[[Axes], None]]] = [
        (_has(bounds, "gradient_variance"), _groups(bounds, "gradient_variance")),
        (_has(bounds, "curves"), lambda axes: _draw_curves(axes, bounds)),
    ]
    return _drawn(bounds, [draw for is_there, draw in wanted if is_there], across=1)


@house_style
def draw_comparison(bounds: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Bounds on one program: their values, their signal, their cost, and held-out bounds.

    Args:
        bounds: for each name of a bound (at most eight) a mapping with any of

            - ``values``: repeated estimates of the bound on the same weights (nats per datum);
            - ``gradient_variance``, ``snr``: a figure for each group of parameters;
            - ``ms_per_step``: a number;
            - ``curves``: for each seed ``(steps, bound)`` of the fit;
            - ``held_out``: for each seed the held-out bound after equal steps (nats per datum).

            A quantity that no bound has gets no panel. Gradient variance and curves are those of
            `draw_glance`.

    Raises:
        InputError: no bound has anything to draw.

    """

    def any_has(field: str) -> bool:
        return any(len(_numbers(summary.get(field))) for summary in bounds.values())

    def points(field: str, title: str, units: str, *, of_mean: bool) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            _by_row(axes, len(bounds), title, units)
            _draw_points(axes, bounds, field, of_mean=of_mean)

        return draw

    estimates = points("values", "Estimates, same weights", f"{NATS}\nmean ± sd", of_mean=False)
    held_out = points("held_out", "Held out, by seed", f"{NATS}\nmean ± se", of_mean=True)
    wanted: list[tuple[bool, Callable[[Axes], None]]] = [
        (any_has("values"), estimates),
        (any_has("ms_per_step"), lambda axes: _draw_cost(axes, bounds)),
        (any_has("held_out"), held_out),
        (_has(bounds, "snr"), _groups(bounds, "snr")),
    ]
    return _drawn(bounds, [draw for is_there, draw in wanted if is_there], across=2)


_GROUPED = {
    "gradient_variance": ("Gradient variance", f"({NATS})²"),
    "snr": ("Gradient SNR", "|mean| / sd"),
}


def _groups(bounds: Mapping[str, Mapping[str, Any]], field: str) -> Callable[[Axes], None]:
    title, units = _GROUPED[field]

    def draw(axes: Axes) -> None:
        _draw_groups(axes, bounds, field)
        axes.set_title(title)
        axes.set_xlabel(units)

    return draw


def _has(bounds: Mapping[str, Mapping[str, Any]], field: str) -> bool:
    return any(summary.get(field) for summary in bounds.values())


def _drawn(
    bounds: Mapping[str, Any], panels: Sequence[Callable[[Axes], None]], *, across: int
) -> Figure:
    """Panels in rows, below the names of the bounds."""
    if not panels:
        raise InputError(f"there is nothing to compare: none of {len(bounds)} bounds has a figure")
    rows = -(-len(panels) // across)
    figure = new_figure(0.6 + 2.3 * rows)
    cells = figure.add_gridspec(rows, across)
    for i, draw in enumerate(panels):
        alone = i == len(panels) - 1 and i % across == 0
        axes = figure.add_subplot(cells[i // across, :] if alone else cells[divmod(i, across)])
        draw(axes)
        settle(axes)
    handles = [Patch(color=OKABE_ITO[i % 8], label=name) for i, name in enumerate(bounds)]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure
