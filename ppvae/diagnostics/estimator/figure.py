"""Figure of gradient estimators: noise and cost by particles."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.log_axes import beyond_note, draw_on_log, label_counts, log_limits, set_log
from ppvae.plots.style import (
    GREY,
    NATS,
    OKABE_ITO,
    WIDTH,
    Look,
    grid_lines,
    house_style,
    panel_grid,
    settle,
)
from ppvae.plots.text import few_numbers, fitted

_GROUPS = 4
_MARKERS = "osD^vPX*"

type _Series = dict[str, tuple[Array, Array, Array | None]]


@house_style
def draw_estimators(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Gradient noise, cost and value of each estimator by particles.

    Args:
        rows: one for each estimator and number of particles, with ``name`` and ``particles``, and
            any of

            - ``variance``: summed over coordinates, by group of parameters; ``variance_error``,
              its standard errors;
            - ``snr``: the signal-to-noise ratio by group;
            - ``relative_cost``: of a step, relative to one of them;
            - ``value``: the bound, nats per datum; ``value_error``, its standard error.

            A quantity that no row has gets no panel. The first four groups of parameters are drawn.

    Raises:
        InputError: a row has no name or no particles, or no row has anything to draw.

    """
    for row in rows:
        if not row.get("name") or not float(row.get("particles") or 0) >= 1:
            raise InputError(
                "each row needs a name and at least 1 particle; one has "
                f"{row.get('name')!r} and {row.get('particles')!r}"
            )
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    looks: dict[str, Look] = {
        name: {"color": OKABE_ITO[i % 8], "marker": _MARKERS[i % 8], "markersize": 6}
        for i, name in enumerate(names)
    }
    groups = list(
        dict.fromkeys(g for f in ("variance", "snr") for row in rows for g in row.get(f) or {})
    )[:_GROUPS]
    panels: list[Callable[[Axes], None]] = []
    beyond: list[Array] = []
    for field, title, units in (
        ("variance", "Gradient variance", f"({NATS})²"),
        ("snr", "Gradient SNR", "|mean| / sd"),
    ):
        for group in groups:
            series = _by_name(rows, field, group)
            if series:
                heading = f"{title}\n{fitted(group, WIDTH / 2 - 1.1, size=12)}"
                panels.append(_logarithmic(series, looks, heading, units))
                beyond += _values(series)
    cost, value = _by_name(rows, "relative_cost"), _finite(_by_name(rows, "value"))
    if cost:
        panels.append(_logarithmic(cost, looks, "Cost of a step", "relative"))
        beyond += _values(cost)
    if value:
        panels.append(_linear(value, looks))
    if not panels:
        raise InputError(f"there is nothing to draw: {len(rows)} rows without values")

    columns = min(len(panels), 2)
    figure, cells = panel_grid(len(panels), columns, around=0.6 + 0.2 * len(names), each=2.6)
    for place, (axes, draw) in enumerate(zip(cells, panels, strict=True)):
        draw(axes)
        label_counts(axes, [float(row["particles"]) for row in rows], apart=0.17)
        if place + columns >= len(panels):
            axes.set_xlabel("particles")
        grid_lines(axes, "y")
        settle(axes)
    handles = [
        Line2D([], [], label=fitted(name, WIDTH - 1.2), **look) for name, look in looks.items()
    ]
    narrow = all(fitted(name, WIDTH / 2 - 0.8) == fitted(name, WIDTH) for name in names)
    figure.legend(handles=handles, loc="outside upper center", ncols=2 if narrow else 1)
    figure.supxlabel(beyond_note(*beyond), fontsize=11, color=GREY)
    return figure


def _by_name(rows: Sequence[Mapping[str, Any]], field: str, group: str | None = None) -> _Series:
    """Particles, values and errors of each estimator that has any, sorted by particles."""

    def of(row: Mapping[str, Any], name: str) -> float:
        held = row.get(name)
        value = (held or {}).get(group) if group is not None else held
        return np.nan if value is None else float(value)

    series: _Series = {}
    for name in dict.fromkeys(str(row["name"]) for row in rows):
        mine = [row for row in rows if str(row["name"]) == name and not np.isnan(of(row, field))]
        mine.sort(key=lambda row: float(row["particles"]))
        if mine:
            particles = np.array([float(row["particles"]) for row in mine])
            errors = np.array([of(row, f"{field}_error") for row in mine])
            values = np.array([of(row, field) for row in mine])
            series[name] = (particles, values, None if np.isnan(errors).all() else errors)
    return series


def _values(series: _Series) -> list[Array]:
    return [values for _, values, _ in series.values()]


def _finite(series: _Series) -> _Series:
    """The finite values only."""
    finite: _Series = {}
    for name, (x, y, error) in series.items():
        there = np.isfinite(y)
        if there.any():
            finite[name] = x[there], y[there], None if error is None else error[there]
    return finite


def _logarithmic(
    series: _Series, looks: Mapping[str, Look], title: str, units: str
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        values = _values(series)
        limits = log_limits(*values)
        for i, (name, (x, y, error)) in enumerate(series.items()):
            draw_on_log(axes, x, y, limits, error=error, nudge=1.05**i, **looks[name])
        set_log(axes, *values)
        axes.set_title(title)
        axes.set_ylabel(units)

    return draw


def _linear(series: _Series, looks: Mapping[str, Look]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for name, (x, y, error) in series.items():
            if error is not None:
                bars: Look = {"fmt": "none", "ecolor": looks[name]["color"], "capsize": 3}
                axes.errorbar(x, y, yerr=np.nan_to_num(error), elinewidth=1, **bars)
            axes.plot(x, y, **looks[name])
        axes.set_title("Value of the bound")
        axes.set_ylabel(NATS)
        few_numbers(axes.yaxis, 4)

    return draw
