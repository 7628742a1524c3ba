"""Figures of the KL: by latent dimension, and its parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.log_axes import beyond_note, draw_on_log, log_limits, set_log
from ppvae.plots.rows import ROW, Row, draw_rows
from ppvae.plots.style import (
    BLUE,
    DASHED,
    GREY,
    NATS,
    OKABE_ITO,
    WIDTH,
    Look,
    four_digits,
    grid_lines,
    house_style,
    new_figure,
    settle,
    stacked,
)
from ppvae.plots.text import few_numbers, fitted

_INACTIVE = "#A9A9A9"
_NAMED = 24  # maximum number of named dimensions
_OVER = WIDTH - 1.2  # width of the panels in inches


@house_style
def draw_kl_by_dimension(
    kl: npt.ArrayLike,
    active_variance: npt.ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.01,
    error: npt.ArrayLike | None = None,
) -> Figure:
    """The KL of each latent dimension, the largest first, and whether the dimension is active.

    Args:
        kl: ``(L,)``, mean over data of KL(q(z_j | x) || p(z_j)), nats per datum. An estimate may be
            below zero.
        active_variance: ``(L,)``, Var_x(E_q[z_j | x]), on a log axis in the same order; a unit is
            active if it is above ``threshold`` (Burda et al., 2016).
        names: names of the dimensions, default their indices; written for at most 24.
        threshold: a variance, drawn as a dashed line.
        error: ``(L,)``, standard errors of ``kl``.

    Raises:
        InputError: there is no dimension, a KL is not finite, or the arguments do not fit.

    """
    values = np.asarray(kl, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"kl must be one number per dimension; its shape is {values.shape}")
    count = len(values)
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"kl must be finite, but is {values[bad]} for dimension {bad}")
    variance = _of_each(active_variance, count, "active_variance")
    errors = _of_each(error, count, "error")
    named = [str(i) for i in range(count)] if names is None else list(names)
    if len(named) != count:
        raise InputError(f"names holds {len(named)} names, for {count} dimensions")

    order = np.argsort(-values, kind="stable")
    active = None if variance is None else variance > threshold
    figure, panels = stacked(1 if variance is None else 2, 3.4 if variance is None else 5.2)
    top, bottom = panels[0], panels[-1]
    used = np.ones(count, dtype=bool) if active is None else active[order]
    colours = [BLUE if is_active else _INACTIVE for is_active in used]
    places = np.arange(1, count + 1, dtype=np.int64)
    look: Look = {"width": 0.8 if count <= 60 else 1.0, "color": colours}
    spread = None if errors is None else np.where(np.isfinite(errors), errors, 0.0)[order]
    if spread is not None:
        few = count <= 60
        thin: Look = {"elinewidth": 1 if few else 0.5, "capsize": 2.5 if few else 0}
        thin["ecolor"] = "#222222"
        look |= {"yerr": spread, "error_kw": thin}
    top.bar(places, values[order], **look)
    top.axhline(0, color="#8A8A8A", linewidth=0.8)
    top.set_ylabel(NATS)
    few_numbers(top.yaxis)
    grid_lines(top, "y")
    total = f"sum {four_digits(float(values.sum()))}"
    top.set_title("KL of each latent dimension")
    top.set_title(total, loc="right", fontsize=11, color=GREY)
    top.set_xlim(0.2, count + 0.8)
    settle(top)
    if variance is not None and active is not None:
        _draw_variance(bottom, places, variance[order], colours, threshold)
        figure.legend(handles=_legend(active, threshold), loc="outside lower center", ncols=3)
    _name_dimensions(bottom, [named[i] for i in order])
    figure.align_ylabels(panels)
    return figure


def _of_each(values: npt.ArrayLike | None, count: int, what: str) -> Array | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (count,):
        raise InputError(
            f"{what} must be one number per dimension, ({count},); its shape is {array.shape}"
        )
    return array


def _draw_variance(
    axes: Axes, places: npt.NDArray[np.int64], variance: Array, colours: list[str], threshold: float
) -> None:
    at_all = np.append(variance, threshold)
    limits = log_limits(at_all)
    for colour in dict.fromkeys(colours):
        mine = np.array([c == colour for c in colours])
        dots: Look = {"linestyle": "none", "marker": "o", "color": colour}
        size = 6 if len(places) <= 60 else 3
        draw_on_log(
            axes, places[mine].astype(np.float64), variance[mine], limits, markersize=size, **dots
        )
    set_log(axes, at_all)
    axes.axhline(threshold, **DASHED)
    axes.set_title("Variance over data of the posterior mean")
    axes.set_title(beyond_note(variance), loc="right", fontsize=11, color=GREY)
    axes.set_ylabel("(units of z)²")
    grid_lines(axes, "y")
    settle(axes)


def _legend(active: npt.NDArray[np.bool_], threshold: float) -> list[Line2D | Patch]:
    count = int(active.sum())
    return [
        Patch(color=BLUE, label=f"active: {count}"),
        Patch(color=_INACTIVE, label=f"inactive: {len(active) - count}"),
        Line2D([], [], label=f"threshold {four_digits(threshold)}", **DASHED),
    ]


def _name_dimensions(axes: Axes, names: Sequence[str]) -> None:
    if len(names) > _NAMED:
        axes.set_xlabel("latent dimensions, the largest KL first")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        return
    fitting = [fitted(name, 1.3) for name in names]
    room = 0.9 * _OVER / len(names)
    level = all(fitted(name, room) == text for name, text in zip(names, fitting, strict=True))
    axes.set_xticks(range(1, len(names) + 1), labels=fitting, rotation=0 if level else 90)
    axes.set_xlabel("latent dimension")


@house_style
def draw_surgery(
    terms: Mapping[str, tuple[float, float | None]],
    *,
    total: tuple[float, float | None] | None = None,
    capped: Sequence[str] = (),
) -> Figure:
    """The parts of the mean KL, each starting where the previous one ends.

    E_x KL(q(z | x) || p(z)) is the mutual information of data and codes, the total correlation of
    the aggregate posterior, and its dimension-wise KL from the prior (Hoffman and Johnson, 2016;
    Chen et al., 2018).

    Args:
        terms: for each part, in this order, nats per datum and their standard error or ``None``.
            An estimate may be negative.
        total: the KL and its standard error; by default the sum.
        capped: parts at the maximum of their estimator, such as a mutual information of log N from
            N data: hatched, with a note.

    Raises:
        InputError: there are no terms, or ``capped`` names another.

    """
    if not terms:
        raise InputError("there is no KL to draw: terms is empty")
    unknown = [name for name in capped if name not in terms]
    if unknown:
        raise InputError(f"capped names {unknown[0]!r}, which is not among {', '.join(terms)}")
    rows, start = [], 0.0
    for (name, (value, error)), colour in zip(terms.items(), OKABE_ITO * 9, strict=False):
        rows.append(Row(name, float(value), error, start, colour, hatched=name in capped))
        start += value if np.isfinite(value) else 0.0
    value, error = (start, None) if total is None else total
    rows.append(Row("KL", float(value), error, colour="#444444"))
    figure = new_figure(0.95 + ROW * len(rows) + (0.25 if capped else 0))
    axes = figure.add_subplot()
    axes.set_title("Parts of the KL")
    draw_rows(axes, rows, linked=True)
    if capped:
        note = "hatched: at the maximum of its estimator"
        figure.supxlabel(note, fontsize=11, color=GREY)
    return figure
