"""Figure of Pareto k-hat and effective sample sizes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.log_axes import label_decades
from ppvae.plots.style import (
    BLUE,
    DASHED,
    GREY,
    VERMILLION,
    WIDTH,
    Look,
    four_digits,
    grid_lines,
    headline,
    house_style,
    new_figure,
    settle,
)
from ppvae.plots.text import few_numbers

_ORANGE = "#E69F00"


@house_style
def draw_reliability(
    khat: npt.ArrayLike,
    ess: npt.ArrayLike,
    *,
    samples: int,
    threshold: float,
) -> Figure:
    """Histogram of Pareto k-hat, and distribution of effective sample sizes, over data.

    Args:
        khat: ``(N,)``, shapes of the Pareto distributions fitted to the largest weights. Infinite
            values have a zone but no bar: ``-inf`` if those weights are all equal, ``inf`` if the
            rest are 0 relative to the largest. NaN means no fit, and no zone.
        ess: ``(N,)``, effective sample sizes, between 1 and ``samples``; on a log axis.
        samples: draws per datum.
        threshold: k-hat from which an estimate with so many draws is unreliable, at most 0.7; from
            1 on the weights have no mean (Vehtari et al., 2024).

    Raises:
        InputError: there are no data, or the shapes differ.

    """
    shape, effective = (np.asarray(a, dtype=np.float64) for a in (khat, ess))
    if shape.ndim != 1 or not len(shape) or shape.shape != effective.shape:
        raise InputError(
            "khat and ess must be one number per datum; their shapes are "
            f"{shape.shape} and {effective.shape}"
        )
    hopeless = max(1.0, threshold)
    edge, end = four_digits(threshold), four_digits(hopeless)
    zones = [
        (BLUE, f"reliable: below {edge}", shape < threshold),
        (_ORANGE, f"biased: {edge} to {end}", (shape >= threshold) & (shape < hopeless)),
        (VERMILLION, f"no mean: from {end}", shape >= hopeless),
        ("#8C8C8C", "no $\\hat{k}$ fitted", np.isnan(shape)),
    ]
    there = [zone for zone in zones if zone[2].any()]
    figure = new_figure(5.8)
    upper, lower = figure.subplots(2, 1)
    _draw_khat(upper, shape, zones[:3], threshold)
    _draw_ess(lower, effective, there, samples)
    figure.align_ylabels([upper, lower])
    headline(figure, "Importance weights of each datum")
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=f"{name} ({_share(mine)})") for colour, name, mine in there
    ]
    handles.append(Line2D([], [], label=f"threshold {edge}", **DASHED))
    figure.legend(handles=handles, loc="outside lower center")
    return figure


type _Zone = tuple[str, str, npt.NDArray[np.bool_]]


def _share(mine: npt.NDArray[np.bool_]) -> str:
    return f"{int(mine.sum()):,}, {mine.mean():.1%}"


def _draw_khat(axes: Axes, khat: Array, zones: Sequence[_Zone], threshold: float) -> None:
    finite = khat[np.isfinite(khat)]
    low = min([threshold - 0.2, *finite])
    high = max([threshold + 0.2, 1.05, *finite])
    # The threshold and 1 are edges of bins, so that each bin has one colour.
    width = (high - low) / 30
    inner = sorted({threshold, max(1.0, threshold)})
    bins = [
        *np.arange(inner[0], low - 1.5 * width, -width)[::-1],
        *(np.linspace(inner[0], inner[1], max(2, round((inner[1] - inner[0]) / width) + 1))[1:]
          if len(inner) > 1 else []),
        *np.arange(inner[-1], high + 1.5 * width, width)[1:],
    ]  # fmt: skip
    for colour, _, mine in zones:
        axes.hist(khat[mine & np.isfinite(khat)], bins=bins, color=colour)
    axes.axvline(threshold, **DASHED)
    if not len(finite):
        axes.text(0.5, 0.5, "none is finite", transform=axes.transAxes, ha="center", color=GREY)
    axes.set_xlabel("Pareto $\\hat{k}$")
    _count_data(axes)
    at = {"\N{MINUS SIGN}∞": int((khat == -np.inf).sum()), "∞": int((khat == np.inf).sum())}
    beyond = [f"{count:,} at {place}" for place, count in at.items() if count]
    note = f"not drawn: {', '.join(beyond)}" if beyond else ""
    axes.set_title(note, loc="right", fontsize=11, color=GREY)
    if not len(finite):
        axes.set_ylim(0, 1)
        axes.set_yticks([])
    few_numbers(axes.xaxis, 7, WIDTH - 1.0)


def _draw_ess(axes: Axes, ess: Array, zones: Sequence[_Zone], samples: int) -> None:
    there = np.isfinite(ess) & (ess > 0)
    low, high = min([1.0, *ess[there]]), max([float(samples), 2.0, *ess[there]])
    order = np.argsort(ess[there])
    at, share = ess[there][order], np.arange(1, int(there.sum()) + 1) / max(1, int(there.sum()))
    for colour, _, mine in zones:
        own = mine[there][order]
        dots: Look = {"linestyle": "none", "marker": "o", "markersize": 3.5}
        axes.plot(at[own], share[own], color=colour, **dots)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.05, high * 1.05)
    label_decades(axes, "x", low, high)
    axes.set_xlabel(f"effective samples, of {samples:,}")
    left_out = int((~there).sum())
    if left_out:
        note = f"{left_out} of {len(ess)} not finite, left out"
        axes.set_title(note, loc="right", fontsize=11, color=GREY)
    axes.set_ylabel("share of data below")
    axes.set_ylim(0, 1.03)
    grid_lines(axes, "y")
    settle(axes)


def _count_data(axes: Axes) -> None:
    axes.set_ylabel("data per bin")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    grid_lines(axes, "y")
    settle(axes)
