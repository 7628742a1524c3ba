"""Figures of log p(x): bounds by number of samples, and bounds from both sides."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, Limits
from ppvae.plots.log_axes import label_counts
from ppvae.plots.style import (
    BLUE,
    GREY,
    NATS,
    VERMILLION,
    WIDTH,
    Look,
    grid_lines,
    headline,
    house_style,
    new_figure,
    settle,
)
from ppvae.plots.text import few_numbers, fitted, labelled, measured

# Colours alone do not distinguish horizontal lines.
_LEVELS: tuple[tuple[str, object], ...] = (
    (VERMILLION, (0, (6, 2))),
    ("#009E73", (0, (2, 1.5))),
    ("#000000", (0, (8, 2, 1.5, 2))),
    ("#CC79A7", (0, (4, 4))),
    ("#E69F00", (0, (1, 1))),
    (GREY, (0, (5, 1, 1, 1, 1, 1))),
)


@house_style
def draw_bound_curve(
    counts: npt.ArrayLike,
    bound: npt.ArrayLike,
    error: npt.ArrayLike | None = None,
    *,
    references: Mapping[str, tuple[float, float | None]] = {},
) -> Figure:
    """The K-sample bound against K, with its limits.

    Args:
        counts: ``(n,)``, K, at least 1, in any order.
        bound: ``(n,)``, the bound's mean over data, nats per datum (Burda et al., 2016).
        error: ``(n,)``, its standard errors, drawn as a band.
        references: by name a value and its standard error or ``None``, nats per datum, drawn as
            horizontal lines with bands: the ELBO, the lower bound of annealing, log p(x) if known.

    Raises:
        InputError: there is no finite bound, a count is below 1, or the lengths differ.

    """
    samples = np.asarray(counts, dtype=np.float64)
    values = np.asarray(bound, dtype=np.float64)
    spread = np.zeros_like(values) if error is None else np.asarray(error, dtype=np.float64)
    if samples.ndim != 1 or not samples.shape == values.shape == spread.shape:
        raise InputError(
            "counts, bound and error must have equal lengths; their shapes are "
            f"{samples.shape}, {values.shape} and {spread.shape}"
        )
    if not np.isfinite(values).any():
        raise InputError(f"there is no bound to draw: none of {len(values)} is finite")
    if not (samples >= 1).all():
        raise InputError(f"counts must be at least 1; the minimum is {samples.min():g}")
    order = np.argsort(samples, kind="stable")
    samples, values = samples[order], np.where(np.isfinite(values), values, np.nan)[order]
    spread = np.where(np.isfinite(spread), spread, 0.0)[order]

    figure = new_figure(3.6 + 0.22 * (1 + len(references)))
    axes = figure.add_subplot()
    axes.set_title("The bound by importance samples")
    has_error = error is not None
    band: Look = {"color": BLUE, "alpha": 0.22, "linewidth": 0}
    axes.fill_between(samples, values - spread, values + spread, **band)
    axes.plot(samples, values, color=BLUE, marker="o", markersize=5, zorder=3)
    if len(samples) == 1 and has_error:  # a band of zero width is invisible
        axes.errorbar(samples, values, yerr=spread, color=BLUE, capsize=4)
    label = "bound of K samples" + (" ± standard error" if has_error else "")
    handles = [Line2D([], [], color=BLUE, marker="o", markersize=5, label=label)]
    for (name, (value, off)), (colour, dashes) in zip(
        references.items(), _LEVELS * (1 + len(references) // len(_LEVELS)), strict=False
    ):
        line: Look = {"color": colour, "linestyle": dashes, "linewidth": 1.8}
        if np.isfinite(value):
            axes.axhline(value, zorder=2, **line)
        if np.isfinite(value) and off is not None and np.isfinite(off) and off > 0:
            axes.axhspan(value - off, value + off, color=colour, alpha=0.15, linewidth=0)
        label = labelled(name, measured(value, off), WIDTH - 0.8)
        handles.append(Line2D([], [], label=label, **line))
    label_counts(axes, samples.tolist(), apart=0.1)
    axes.set_ylim(*_room(values, spread, references))
    axes.set_xlabel("K, importance samples per datum")
    axes.set_ylabel(NATS)
    few_numbers(axes.yaxis, 5)
    grid_lines(axes, "y")
    settle(axes)
    figure.legend(handles=handles, loc="outside lower left", handlelength=3.2)
    return figure


def _room(
    values: Array, spread: Array, references: Mapping[str, tuple[float, float | None]]
) -> Limits:
    """Range of the drawn values with a margin."""
    every = [*(values - spread), *(values + spread)]
    for value, off in references.values():
        every += [value - (off or 0.0), value + (off or 0.0), value]
    there = [v for v in every if np.isfinite(v)]
    margin = 0.06 * (max(there) - min(there)) or max(1e-3, 0.01 * abs(there[0]))
    return min(there) - margin, max(there) + margin


@house_style
def draw_sandwich(
    lower: npt.ArrayLike,
    upper: npt.ArrayLike,
    *,
    truth: npt.ArrayLike | None = None,
) -> Figure:
    """Gap between a lower and an upper bound on log p(x), by datum.

    Args:
        lower: ``(N,)``, lower bounds in expectation, nats, for data drawn from the model.
        upper: ``(N,)``, upper bounds in expectation; noise may put one below its lower bound
            (Grosse et al., 2015).
        truth: ``(N,)``, log p(x) if known, as the zero level; else the middle of both bounds.

    Raises:
        InputError: the shapes differ, or no datum has two finite bounds.

    """
    below, above = (np.asarray(side, dtype=np.float64) for side in (lower, upper))
    middle = (below + above) / 2 if truth is None else np.asarray(truth, dtype=np.float64)
    if below.ndim != 1 or not below.shape == above.shape == middle.shape:
        raise InputError(
            "lower, upper and truth must be one number per datum; their shapes are "
            f"{below.shape}, {above.shape} and {middle.shape}"
        )
    finite = np.isfinite(below) & np.isfinite(above) & np.isfinite(middle)
    if not finite.any():
        raise InputError(f"none of {len(below)} data has a finite lower and upper bound")
    below, above, middle = below[finite], above[finite], middle[finite]
    gap = above - below
    order = np.argsort(gap, kind="stable")

    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    level = "their middle" if truth is None else "log p(x)"
    _draw_sides(left, (below - middle)[order], (above - middle)[order], level)
    _draw_gap(right, gap)
    note = "" if finite.all() else f" ({(~finite).sum()} of {len(finite)} not finite, left out)"
    title = f"log p(x) of simulated data, from both sides{note}"
    headline(figure, fitted(title, WIDTH - 0.4, size=12))
    handles = [
        Line2D([], [], linestyle="none", marker="^", color=VERMILLION, label="upper bound"),
        Line2D([], [], linestyle="none", marker="v", color=BLUE, label="lower bound"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_sides(axes: Axes, below: Array, above: Array, level: str) -> None:
    places = np.arange(1, len(below) + 1)
    axes.vlines(places, below, above, color="#BBBBBB", linewidth=1)
    dots: Look = {"linestyle": "none", "markersize": 5 if len(below) <= 100 else 3}
    axes.plot(places, above, marker="^", color=VERMILLION, **dots)
    axes.plot(places, below, marker="v", color=BLUE, **dots)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlabel("simulated data, by gap")
    axes.set_ylabel(f"nats, minus {level}")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.set_xlim(0.4, len(below) + 0.6)
    few_numbers(axes.yaxis, 5)
    settle(axes)


def _draw_gap(axes: Axes, gap: Array) -> None:
    axes.hist(gap, bins=min(30, max(5, round(np.sqrt(len(gap))))), color="#8C8C8C")
    error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else None
    axes.axvline(gap.mean(), color="#222222", linewidth=1.8)
    axes.set_title(f"mean {measured(float(gap.mean()), error)}", fontsize=11)
    axes.set_xlabel("their gap, nats")
    axes.set_ylabel("data")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    few_numbers(axes.xaxis, 3, 1.3)
    settle(axes)
