"""Training curves."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array
from ppvae.plots.style import (
    BLUE,
    DASHED,
    GREY,
    NATS,
    VERMILLION,
    Look,
    four_digits,
    grid_lines,
    headline,
    house_style,
    settle,
    stacked,
)
from ppvae.plots.window import window_on

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

type Rows = Sequence[Mapping[str, float | str | None]]

_SPLITS = {"train": (BLUE, 1.5), "valid": (VERMILLION, 2.6)}  # the thinner on top


def _absent(value: object) -> bool:
    return value is None or value == ""


def _rows(table: "Rows | DataFrame") -> Rows:
    """The rows of a table, without its missing values."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(table, pandas.DataFrame):
        rows: Rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return rows
    return cast("Rows", table)


def _column(rows: Rows, split: str, name: str) -> tuple[Array, Array]:
    """Epochs and values of a column in a split; the last value of a repeated epoch."""
    by_epoch: dict[float, float] = {}
    for row in rows:
        value, epoch = row.get(name) or 0.0, row.get("epoch") or 0.0
        if row.get("split") == split and not _absent(row.get(name)):
            by_epoch[float(epoch)] = float(value)
    epochs = np.array(sorted(by_epoch), dtype=np.float64)
    return epochs, np.array([by_epoch[e] for e in epochs], dtype=np.float64)


def _shade_beta(panels: Sequence[Axes], epochs: Array, beta: Array) -> Patch | None:
    """Shade the epochs before the KL weight has its final value."""
    other = ~np.isclose(beta, beta[-1]) if len(beta) else np.zeros(0, dtype=bool)
    if not other.any():
        return None
    look: Look = {"facecolor": "#EFEFEF", "edgecolor": "none"}
    edges = np.flatnonzero(np.diff(np.concatenate([[0], other.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        for axes in panels:
            axes.axvspan(epochs[start], epochs[min(stop, len(epochs) - 1)], zorder=0, **look)
    if (np.diff(beta) >= 0).all():
        name = f"warm-up, β from {four_digits(beta[0])} to {four_digits(beta[-1])}"
    else:
        last, least, most = (four_digits(b) for b in (beta[-1], beta.min(), beta.max()))
        name = f"β not yet {last} ({least} to {most})"
    return Patch(label=name, **look)


def _draw_term(
    axes: Axes, curves: Mapping[str, tuple[Array, Array]], title: str, best_epoch: int | None
) -> None:
    """One term of the bound by epoch, a line for each split."""
    keep = []
    for split, (colour, width) in _SPLITS.items():
        epochs, values = curves[split]
        shown = np.where(np.isfinite(values), values, np.nan)
        marker = "o" if len(epochs) <= 20 else ""
        line: Look = {"color": colour, "linewidth": width, "zorder": 4 - width}
        axes.plot(epochs, shown, marker=marker, markersize=4, **line)
        at_best = values[epochs == best_epoch]
        keep.extend(at_best)
        if split == "valid" and best_epoch is not None and len(at_best):
            dot: Look = {"markersize": 7, "markeredgecolor": "white", "zorder": 4}
            axes.plot([best_epoch], at_best, color=colour, marker="o", **dot)
    window = window_on([v for _, v in curves.values()], keep)
    if window.limits:
        axes.set_ylim(*window.limits)
    axes.set_title(title)
    note = window.outside.replace(" the axis", "").replace("; ", "\n")
    axes.set_title(note, loc="right", fontsize=11, color=GREY)
    axes.set_ylabel(NATS)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    grid_lines(axes, "y")
    settle(axes)
    if best_epoch is not None:
        axes.axvline(best_epoch, zorder=1, **DASHED)


@house_style
def history(metrics: "Rows | DataFrame", *, best_epoch: int | None = None) -> Figure:
    """The bound and its two terms by epoch, as in ``metrics.csv``.

    Args:
        metrics: ``run.metrics()``, or rows: one for each epoch and split, with ``epoch``, ``split``
            ("train", "valid"; others are skipped), ``elbo``, ``reconstruction``, ``kl`` (nats per
            datum) and optionally ``beta``. Numbers may be text; ``None`` and ``""`` mean absent.
        best_epoch: the epoch whose weights were kept; it is marked.

    Early values may be outside the axes; how many, and how far, is written above the panel. If
    ``elbo`` is absent it has no panel, and a title says why.

    Raises:
        InputError: no row holds a number to draw.

    """
    rows = _rows(metrics)
    curves = {
        name: {split: _column(rows, split, name) for split in _SPLITS}
        for name in ("elbo", "reconstruction", "kl")
    }
    shown = [n for n, by in curves.items() if any(np.isfinite(v).any() for _, v in by.values())]
    if not shown:
        raise InputError(
            f"there is no history to draw: none of {len(rows)} rows has a finite elbo, "
            "reconstruction or kl for the split train or valid"
        )
    never = {n: all(_absent(row.get(n)) for row in rows) for n in curves}
    by_epoch = {e: b for s in _SPLITS for e, b in zip(*_column(rows, s, "beta"), strict=True)}
    beta_epochs = np.array(sorted(by_epoch), dtype=np.float64)
    beta = np.array([by_epoch[e] for e in beta_epochs], dtype=np.float64)

    titles = {"elbo": "Bound (ELBO)", "reconstruction": "Reconstruction", "kl": "KL to the prior"}
    if len(beta) and not np.allclose(beta, 1.0):
        titles["elbo"] = "Bound (ELBO, at β = 1)"
    figure, panels = stacked(len(shown), 0.9 + 2.1 * len(shown))
    for axes, name in zip(panels, shown, strict=True):
        _draw_term(axes, curves[name], titles[name], best_epoch)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    figure.align_ylabels(panels)

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, linewidth=width, label=split)
        for split, (colour, width) in _SPLITS.items()
        if any(len(curves[n][split][0]) for n in shown)
    ]
    if best_epoch is not None:
        handles.append(Line2D([], [], label=f"best epoch, {best_epoch}", **DASHED))
    shade = _shade_beta(panels, beta_epochs, beta)
    if shade is not None:
        handles.append(shade)
    elif len(beta) and not math.isclose(beta[-1], 1.0) and "elbo" in shown:
        handles.append(
            Line2D([], [], linestyle="none", label=f"trained at β = {four_digits(beta[-1])}")
        )
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if shade or len(handles) > 3 else 3
    )
    if "elbo" not in shown:
        if never["elbo"] and never["kl"]:
            headline(figure, "There is no bound: the guide is a point mass")
        else:
            headline(figure, "There is no bound to show: no finite value was recorded")
    return figure
