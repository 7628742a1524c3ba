"""The prior as contours over the codes of the data."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, data_array
from ppvae.plots.style import (
    BLUE,
    VERMILLION,
    WIDTH,
    Look,
    headline,
    house_style,
    panel_grid,
    settle,
)

SHARES = (0.5, 0.95)
"""Shares of the prior's mass; each contour is the smallest region of that share."""

_LINES: tuple[Look, ...] = (
    {"linewidths": 2.0, "linestyles": "solid"},
    {"linewidths": 1.3, "linestyles": "dashed"},
)


@house_style
def prior_and_codes(
    codes: Mapping[str, npt.ArrayLike],
    log_prob: Mapping[str, npt.ArrayLike],
    grid: npt.ArrayLike,
    *,
    title: str = "The codes of the data, and the prior",
) -> Figure:
    """One panel per prior, on a common scale: draws of q(z), and p(z) as contours.

    Args:
        codes: by name, ``(N, 2)``: draws from the aggregate posterior q(z).
        log_prob: by the same names, ``(rows, columns)``: log p(z) on the grid.
        grid: ``(rows, columns, 2)``, z of the grid: one z1 per column, one z2 per row.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, or the shapes or the names do not fit.

    """
    nodes = data_array(grid, "grid", 3)
    points = {name: data_array(values, f"codes '{name}'", 2) for name, values in codes.items()}
    levels = {name: np.asarray(values, float) for name, values in log_prob.items()}
    if nodes.ndim != 3 or nodes.shape[2] != 2 or not points or list(points) != list(levels):
        raise InputError(
            "grid must be (rows, columns, 2), and codes and log_prob must have the same names; "
            "grid has "
            f"shape {nodes.shape}, and the names are {', '.join(points)} and {', '.join(levels)}"
        )
    for name in points:
        if points[name].shape[1:] != (2,) or levels[name].shape != nodes.shape[:2]:
            raise InputError(
                f"codes of '{name}' must be (N, 2) and its log_prob {nodes.shape[:2]}; they are "
                f"{points[name].shape} and {levels[name].shape}"
            )
    columns = min(len(points), 2)
    each = (WIDTH - 0.8) / columns
    figure, panels = panel_grid(len(points), columns, around=1.0, each=each, shared=True)
    for place, (axes, name) in enumerate(zip(panels, points, strict=True)):
        _draw(axes, points[name], levels[name], nodes)
        axes.set_title(name)
        if place + columns >= len(points):
            axes.set_xlabel("$z_1$")
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel("$z_2$")
    headline(figure, title)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3)
    return figure


def smallest_regions(log_prob: npt.ArrayLike) -> list[float]:
    """The log-density at the edge of the smallest region of each of `SHARES`.

    Shares are of the mass on the grid of equal cells.
    """
    falling = np.sort(np.asarray(log_prob, float).ravel())[::-1]
    mass = np.exp(falling - falling[0]).cumsum()
    return [float(falling[np.searchsorted(mass, share * mass[-1])]) for share in SHARES]


def _draw(axes: Axes, codes: Array, log_prob: Array, nodes: Array) -> None:
    dots: Look = {
        "s": float(np.clip(4000 / len(codes), 2, 16)),
        "alpha": float(np.clip(600 / len(codes), 0.2, 0.7)),
        "linewidths": 0,
        "rasterized": True,
    }
    axes.scatter(codes[:, 0], codes[:, 1], color=BLUE, **dots)
    for level, look in zip(smallest_regions(log_prob), _LINES, strict=True):
        axes.contour(nodes[..., 0], nodes[..., 1], log_prob, [level], colors=VERMILLION, **look)
    axes.set_xlim(nodes[..., 0].min(), nodes[..., 0].max())
    axes.set_ylim(nodes[..., 1].min(), nodes[..., 1].max())
    axes.set_aspect("equal")
    settle(axes)


def _handles() -> list[Line2D]:
    dot: Look = {"linestyle": "none", "marker": "o", "color": BLUE}
    lines: list[Look] = [{"linewidth": 2.0}, {"linewidth": 1.3, "linestyle": "--"}]
    return [Line2D([], [], label="draws of q(z)", **dot)] + [
        Line2D([], [], color=VERMILLION, label=f"{share:.0%} of p(z)", **look)
        for share, look in zip(SHARES, lines, strict=True)
    ]
