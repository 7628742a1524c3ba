"""Figure of calibration: ranks against the uniform distribution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.pictures import entitle
from ppvae.plots.style import (
    BLUE,
    GREY,
    VERMILLION,
    WIDTH,
    Look,
    headline,
    house_style,
    panel_grid,
    settle,
)
from ppvae.plots.text import few_numbers, fitted, probability

_MOST = 8
_POINTS = 100  # points at which the curve is compared with its envelope
_LEVEL = 0.95
_ENVELOPE: Look = {"facecolor": "#DDDDDD", "edgecolor": "none"}


@house_style
def draw_calibration(
    pit: npt.ArrayLike,
    names: Sequence[str],
    p_values: npt.ArrayLike,
    *,
    joint: Sequence[str] = (),
) -> Figure:
    """Deviation of ranks from uniform: their distribution function minus the uniform one.

    The envelope holds the whole curve of a calibrated quantity with probability 95 % (Säilynoja,
    Bürkner and Vehtari, 2022, by ArviZ); ranks of different simulations are independent, as it
    assumes. It is an envelope for each quantity on its own.

    Args:
        pit: ``(simulations, quantities)``, normalized ranks in [0, 1], ties broken at random.
        names: names of the quantities. At most 8 are drawn.
        p_values: ``(quantities,)``, p-values of uniform ranks; the smallest are drawn first, and
            NaN last.
        joint: names of quantities of all latents, drawn before those of one dimension.

    Raises:
        InputError: a rank is not in [0, 1], there are fewer than 2 simulations, or the arguments
            do not fit.

    """
    ranks = np.asarray(pit, dtype=np.float64)
    p = np.asarray(p_values, dtype=np.float64)
    if ranks.ndim != 2 or not ranks.size or not ranks.shape[1] == len(names) == p.size:
        raise InputError(
            f"pit must be (simulations, quantities), with a name and a p-value for each quantity; "
            f"its shape is {ranks.shape}, for {len(names)} names and {p.size} p-values"
        )
    if len(ranks) < 2:
        raise InputError(f"pit holds {len(ranks)} simulation; an envelope needs at least 2")
    if not ((ranks >= 0) & (ranks <= 1)).all():
        raise InputError("pit must be in [0, 1]: normalized ranks of simulated values")
    first = [(name not in joint, value) for name, value in zip(names, np.ravel(p), strict=True)]
    # NaN cannot be sorted.
    chosen = sorted(range(len(names)), key=lambda i: (first[i][0], np.nan_to_num(p[i], nan=9.0)))
    chosen = chosen[:_MOST]

    at, low, high = _envelope(len(ranks))
    columns = min(len(chosen), 2)
    figure, panels = panel_grid(len(chosen), columns, around=1.85, each=1.75, shared=True)
    for place, (axes, i) in enumerate(zip(panels, chosen, strict=True)):
        _draw_curve(axes, at, ranks[:, i], low, high)
        axes.set_title(fitted(names[i], WIDTH / columns - 1.45, size=12, lines=2))
        axes.set_title(probability(float(p[i])), loc="right", fontsize=11, color=GREY)
        # A panel with none below has the tick labels of the shared axis.
        axes.tick_params(labelbottom=place + columns >= len(chosen))
        if place + columns >= len(chosen):
            axes.set_xlabel("normalized rank")
    few_numbers(panels[0].yaxis, 4)
    title = "Ranks among draws of the guide"
    headline(figure, entitle(title, len(chosen), len(names)))
    figure.supylabel("ECDF minus uniform", fontsize=11)
    handles = [
        Line2D([], [], color=BLUE, label="ranks"),
        Line2D([], [], color=VERMILLION, label="outside"),
        Patch(label=f"where {_LEVEL:.0%} of calibrated curves stay", **_ENVELOPE),
    ]
    note = "high at the left, low at the right: the guide is too narrow"
    below: Look = {"loc": "outside lower center", "ncols": 2, "title_fontsize": 11}
    figure.legend(handles=handles, title=note, **below)
    return figure


def _envelope(simulations: int) -> tuple[Array, Array, Array]:
    """Points of comparison, and the envelope of deviations from uniform."""
    from arviz_stats import ecdf_utils

    # Few points, since the envelope needs a binomial tail for each in each of a thousand trials.
    points = min(simulations, _POINTS)
    at = np.arange(1, points) / points
    bands: Any = ecdf_utils  # untyped
    trials = np.random.default_rng(0)
    alone = bands.simulate_confidence_bands(simulations, 1, at, _LEVEL, 1000, trials)
    # Values exactly as unlikely as the bound of the envelope are inside.
    alone = min(1.0, alone + 1e-9)
    low, high = bands.get_pointwise_confidence_band(alone, simulations, at)
    return at, low - at, high - at


def _draw_curve(axes: Axes, at: Array, ranks: Array, low: Array, high: Array) -> None:
    from scipy.stats import ecdf

    curve = ecdf(ranks).cdf.evaluate(at) - at

    def whole(inner: Array) -> Array:
        return np.array([0.0, *inner, 0.0])  # all distributions agree at 0 and 1

    ends = np.array([0.0, *at, 1.0])
    axes.fill_between(ends, whole(low), whole(high), **_ENVELOPE)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(ends, whole(curve), color=BLUE)
    outside = (curve < low - 1e-9) | (curve > high + 1e-9)
    if outside.any():
        mark: Look = {"linestyle": "none", "marker": "o", "markersize": 3.5}
        axes.plot(at[outside], curve[outside], color=VERMILLION, zorder=3, **mark)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    settle(axes)
