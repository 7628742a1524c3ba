"""Figure of the gap between the bound and log p(x), due to family and encoder."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.rows import ROW, Row, draw_rows
from ppvae.plots.style import (
    BLUE,
    GREY,
    VERMILLION,
    WIDTH,
    four_digits,
    grid_lines,
    house_style,
    new_figure,
    settle,
)
from ppvae.plots.text import few_numbers, fitted, measured

_COLOURS = {"amortization": VERMILLION, "approximation": BLUE}


@house_style
def draw_gaps(
    approximation: npt.ArrayLike,
    amortization: npt.ArrayLike,
    *,
    elbo: npt.ArrayLike | None = None,
    log_p: npt.ArrayLike | None = None,
    errors: Mapping[str, float] | None = None,
) -> Figure:
    """The two parts of log p(x) - ELBO: their means, and their distribution over data.

    Args:
        approximation: ``(N,)``, nats: log p(x) minus the bound of the best member of the family for
            this x (Cremer et al., 2018). Noise may make a gap negative.
        amortization: ``(N,)``, nats: that bound minus the encoder's.
        elbo: ``(N,)`` or a mean, nats per datum; drawn with ``log_p``.
        log_p: ``(N,)`` or a mean, nats per datum; without both there is no panel of means.
        errors: standard errors of means by name (``"approximation"``, ``"amortization"``,
            ``"elbo"``, ``"log_p"``); default from the spread over data, if there is one.

    Raises:
        InputError: the two differ in shape, or neither holds a finite number.

    """
    family, encoder = (np.asarray(a, dtype=np.float64) for a in (approximation, amortization))
    if family.ndim != 1 or family.shape != encoder.shape:
        raise InputError(
            "approximation and amortization must be one number per datum; their shapes are "
            f"{family.shape} and {encoder.shape}"
        )
    finite = np.isfinite(family) & np.isfinite(encoder)
    if not finite.any():
        raise InputError(f"none of {len(finite)} data has two finite gaps")
    by_name = {"amortization": encoder[finite], "approximation": family[finite]}
    error_of = dict(errors or {})
    means = {
        name: (float(values.mean()), error_of.get(name, _standard_error(values)))
        for name, values in by_name.items()
    }
    title = "From the bound to log p(x)"
    if not finite.all():
        title = f"{title} ({(~finite).sum()} of {len(finite)} not finite, left out)"

    if elbo is None or log_p is None:
        figure = new_figure(3.4)
        axes = figure.add_subplot()
    else:
        figure = new_figure(5.9)
        cells = figure.add_gridspec(2, 1, height_ratios=[4 * ROW + 0.2, 2.3])
        upper, axes = figure.add_subplot(cells[0]), figure.add_subplot(cells[1])
        draw_rows(upper, _waterfall(means, elbo, log_p, error_of), linked=True)
        upper.set_title(fitted(title, WIDTH - 2.2, size=12))
        title = "Both gaps over the data"
    _draw_shares(axes, by_name)
    axes.set_title(fitted(title, WIDTH - 2.2, size=12))
    handles = [
        Line2D([], [], color=_COLOURS[name], label=f"{name} gap, mean {measured(*means[name])}")
        for name in by_name
    ]
    figure.legend(handles=handles, loc="outside lower left")
    return figure


def _standard_error(values: Array) -> float | None:
    """Standard error of a mean, from the spread over data; None for one datum."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _level(name: str, given: npt.ArrayLike, error: float | None) -> Row:
    values = np.ravel(np.asarray(given, dtype=np.float64))
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else math.nan
    return Row(name, mean, error, colour="#222222", is_level=True)


def _waterfall(
    means: Mapping[str, tuple[float, float | None]],
    elbo: npt.ArrayLike,
    log_p: npt.ArrayLike,
    errors: Mapping[str, float],
) -> list[Row]:
    # Data differ more than gaps do: the spread over data is not the error of the steps.
    rows = [_level("ELBO", elbo, errors.get("elbo"))]
    for name, (mean, error) in means.items():
        start = rows[-1].end
        rows.append(Row(f"+ {name} gap", mean, error, start, _COLOURS[name]))
    return [*rows, _level("log p(x)", log_p, errors.get("log_p"))]


def _draw_shares(axes: Axes, by_name: Mapping[str, Array]) -> None:
    """The cumulative share of data by gap, with the means as ticks."""
    every = np.concatenate(list(by_name.values()))
    low, high = float(every.min()), float(every.max())
    most = float(np.quantile(every, 0.995))
    label = "gap of a datum, nats  (▲ mean)"
    # One datum in two hundred must not take most of the room.
    if high - low > 3 * (most - low) > 0:
        label += f"\n{int((every > most).sum())} beyond, to {four_digits(high)}"
        high = most
    margin = 0.05 * (high - low) or max(0.5, 0.05 * abs(high))
    axes.set_xlim(low - margin, high + margin)
    for name, values in by_name.items():
        axes.ecdf(values, color=_COLOURS[name], linewidth=2)
        axes.plot(values.mean(), 0.0, marker="^", markersize=9, color=_COLOURS[name], clip_on=False)
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.set_ylabel("share of data below")
    axes.set_xlabel(label)
    few_numbers(axes.xaxis, 6, 3.2)
    grid_lines(axes, "y")
    settle(axes)
