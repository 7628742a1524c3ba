"""Log axes that show zero at the bottom and infinity at the top."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.style import Look


def _reach(values: Sequence[Array]) -> tuple[float, float, float]:
    """Minimum and maximum of the finite positive values, and the factor of the margin."""
    every = _joined(values)
    there = every[np.isfinite(every) & (every > 0)]
    if not len(there):
        return 0.25, 4.0, 2.5
    low, high = float(there.min()), float(there.max())
    return low, high, max(2.5, (high / low) ** 0.08)


def _joined(values: Sequence[Array]) -> Array:
    return np.concatenate([np.ravel(v) for v in values] or [np.empty(0)])


def log_limits(*values: Array) -> Limits:
    """Positions of zero and of infinity: below and above all other values."""
    low, high, room = _reach(values)
    return low / room, high * room


def draw_on_log(
    axes: Axes,
    x: Array,
    values: Array,
    limits: Limits,
    *,
    error: Array | None = None,
    nudge: float = 1.0,
    **look: Any,
) -> None:
    """A line of the finite positive values; the rest as open triangles at ``limits``.

    ``limits`` is `log_limits` of all values on these axes. ``nudge`` is a factor on the x of
    triangles, so that those of several lines do not hide each other.
    """
    there = np.isfinite(values) & (values > 0)
    shown = np.where(there, values, np.nan)
    if error is not None:
        drop = np.where(np.isfinite(error) & there, error, 0.0)
        # An error bar longer than its value ends at the end of the axis.
        down = np.minimum(drop, np.where(there, values - limits[0], 0.0).clip(min=0.0))
        bars: Look = {"fmt": "none", "ecolor": look.get("color"), "elinewidth": 1, "capsize": 3}
        axes.errorbar(x, shown, yerr=[down, drop], **bars)
    axes.plot(x, shown, **look)
    beyond: Look = {"linestyle": "none", "markersize": 8, "markerfacecolor": "white"}
    for place, marker, mine in (
        (limits[0], "v", values <= 0),
        (limits[1], "^", values == np.inf),
    ):
        if mine.any():
            axes.plot(
                nudge * x[mine],
                np.full(int(mine.sum()), place),
                marker=marker,
                markeredgecolor=look.get("color"),
                clip_on=False,
                zorder=4,
                **beyond,
            )


def set_log(axes: Axes, *values: Array) -> None:
    """A log y axis with few numbers; it ends at the triangles, if there are any."""
    every = _joined(values)
    low, high, room = _reach(values)
    low /= room if (every <= 0).any() else math.sqrt(room)
    high *= room if (every == np.inf).any() else math.sqrt(room)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    label_decades(axes, "y", low, high)


def label_decades(axes: Axes, which: str, low: float, high: float) -> None:
    """Numbers at a few decades, and between them only on an axis of less than one decade."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    within = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
    subs: tuple[float, ...] = (1.0,) if within >= 2 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_major_formatter(lambda value, _: _written(value))
    axis.set_minor_formatter(NullFormatter())


def label_counts(axes: Axes, counts: Sequence[float], *, apart: float) -> None:
    """A log x axis of a few counts, numbered where they are ``apart``, a share of the axis."""
    low, high = min(counts) / 1.35, max(counts) * 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    labelled: list[float] = []
    for count in sorted(set(counts)):
        if not labelled or np.log(count / labelled[-1]) >= apart * np.log(high / low):
            labelled.append(count)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_major_formatter(lambda value, _: _written(value))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _written(value: float) -> str:
    """A number of a log axis: written in full if short."""
    if 1e-3 <= value < 1e5:
        return f"{value:,.6g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    first = f"{value / 10.0**power:.3g}"
    return f"$10^{{{power}}}$" if first == "1" else f"${first}\\times10^{{{power}}}$"


def beyond_note(*values: Array) -> str:
    """Meaning of the triangles, if there are any."""
    every = _joined(values)
    notes = ["▽ 0"] if (every <= 0).any() else []
    if (every == np.inf).any():
        notes.append("△ ∞")
    return ", ".join(notes)
