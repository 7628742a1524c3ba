"""Figure of predictive checks: statistics of data and model."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

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

_MOST = 12
_LIGHT = "#7FB8D8"
_OBSERVED: Look = {"color": VERMILLION, "linewidth": 2.4}


@house_style
def draw_predictive(
    observed: Mapping[str, float],
    replicated: Mapping[str, npt.ArrayLike],
    p_values: Mapping[str, float] = {},
) -> Figure:
    """Each statistic of the data, and its histogram over replicated data sets.

    Args:
        observed: statistics of the data by name.
        replicated: by the same names, ``(replications,)``, the same statistic of data sets drawn
            from the model.
        p_values: by name, the share of replications at least as extreme; optional.

    Raises:
        InputError: there is no statistic, one is missing on a side, or none of its replications is
            finite.

    """
    if not observed or set(observed) != set(replicated):
        apart = sorted(set(observed) ^ set(replicated))
        raise InputError(
            "observed and replicated must have the same statistics, at least one; "
            f"on one side only: {', '.join(apart) or 'none'}"
        )
    values = {name: np.ravel(np.asarray(replicated[name], dtype=np.float64)) for name in observed}
    for name, draws in values.items():
        if not np.isfinite(draws).any():
            raise InputError(f"statistic {name!r} has no finite replication")
    # A statistic that is equal in the data and all sets, such as the largest of zeros and ones, is
    # not informative.
    telling = [name for name in observed if (values[name] != observed[name]).any()]
    shown = (telling or list(observed))[:_MOST]
    columns = min(len(shown), 2)
    figure, panels = panel_grid(len(shown), columns, around=1.65, each=1.8)
    for place, (axes, name) in enumerate(zip(panels, shown, strict=True)):
        draws = values[name]
        _draw_statistic(axes, float(observed[name]), draws[np.isfinite(draws)])
        axes.set_title(fitted(name, WIDTH / columns - 1.45, size=12, lines=3))
        if name in p_values and np.isfinite(observed[name]):
            # With R replications none is below 2 / (R + 1), see `Replicated.p_value`.
            p_value = probability(p_values[name], least=2 / (len(draws) + 1))
            axes.set_title(p_value, loc="right", fontsize=11, color=GREY)
        if place + columns >= len(shown):
            axes.set_xlabel("value of the statistic")
    title = "Statistics of data and draws"
    headline(figure, entitle(title, len(shown), len(telling or observed)))
    figure.supylabel("replications per bin", fontsize=11)
    sets = max(map(len, values.values()))
    floor = f" (no p is below {2 / (sets + 1):.2g})" if p_values else ""
    handles = [
        Patch(color=_LIGHT, label=f"{sets:,} sets drawn from the model{floor}"),
        Line2D([], [], label="the data", **_OBSERVED),
    ]
    figure.legend(handles=handles, loc="outside lower center")
    return figure


def _draw_statistic(axes: Axes, observed: float, draws: Array) -> None:
    low, high = float(draws.min()), float(draws.max())
    # Equal replications are one bar, of a width above floating-point resolution.
    width = (high - low) / min(25, max(6, round(len(draws) ** 0.5))) or max(0.02, 0.02 * abs(low))
    edges = np.arange(low - width / 2, high + width, width)
    counts, edges = np.histogram(draws, bins=edges)
    axes.bar(edges[:-1], counts, width=width, align="edge", color=_LIGHT, edgecolor=BLUE)
    if np.isfinite(observed):
        axes.axvline(observed, **_OBSERVED)
    else:
        axes.set_title("not finite", loc="right", fontsize=11, color=VERMILLION)
    axes.margins(x=0.06)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    few_numbers(axes.xaxis, 3, 2.2)
    settle(axes)
