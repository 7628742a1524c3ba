"""The house style of all figures.

It overrides the user's matplotlib settings while a figure is drawn and restores them after. All
figures have the same width, so that their type has the same size on a page. Colours are those of
Okabe and Ito, which colour-blind readers can distinguish, then twelve more with another marker. A
label keeps its colour from figure to figure.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

type Look = dict[str, Any]  # keyword arguments of an artist

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#6E6E6E"
OKABE_ITO = (
    *(BLUE, "#E69F00", "#009E73", VERMILLION),
    *("#56B4E9", "#CC79A7", "#F0E442", "#000000"),
)
# Of classes: without black, invisible on a dark page, and pale colours, invisible on a white one.
PALETTE = (
    *OKABE_ITO[:7],
    *("#8C8C8C", "#A0643C", "#7467C9", "#999933", "#B8437A", "#44AA99", "#AA4499"),
    *("#2F8F4E", "#CC6677", "#6699CC", "#C9B458", "#A8452B", "#5B8A9B"),
)

# Viridis without its yellow end, which is invisible on a white page.
SEQUENTIAL = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), "ppvae")

WIDTH = 5.0  # inches, of every figure
DPI = 192
# White between the dashes keeps the line visible over thousands of points.
DASHED: Look = {
    "color": GREY,
    "gapcolor": "white",
    "linewidth": 1.2,
    "linestyle": (0, (4, 3)),
}
NATS = "nats per datum"

_STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 11,
    "axes.edgecolor": "#8A8A8A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.titlesize": 12,
    "figure.facecolor": "white",
    "figure.dpi": DPI,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.5,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}


def house_style[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Run ``draw`` in the house style, then restore the user's style."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return styled


def in_house_style() -> AbstractContextManager[None]:
    """The house style for other figures, such as ArviZ's; the user's style is restored after.

    Example::

        with in_house_style():
            arviz.plot_forest(tree)
    """
    cycle = cycler(color=OKABE_ITO)
    look = {"axes.prop_cycle": cycle, "text.color": "#222222", "axes.labelcolor": "#222222"}
    ticks = {f"{axis}tick.{part}": c for axis in "xy" for part, c in _TICKS.items()}
    context: AbstractContextManager[None] = mpl.style.context(["default", _STYLE | look | ticks])
    return context


_TICKS = {"color": "#8A8A8A", "labelcolor": "#333333"}


def new_figure(height: float) -> Figure:
    """An empty figure of the common width; ``height`` is in inches."""
    engine = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    return Figure(figsize=(WIDTH, height), layout=engine)


def headline(figure: Figure, title: str) -> None:
    """Title of a figure of several panels, at the left, as in each panel."""
    figure.suptitle(title, x=0.01, ha="left")


def settle(axes: Axes) -> None:
    """Fix the settings that matplotlib would otherwise read from the user's when it draws."""
    axes.tick_params(which="both", labelsize=11, color="#8A8A8A", labelcolor="#333333")


def grid_lines(axes: Axes, axis: str) -> None:
    """Faint lines across ``axis``, in the background."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x" if axis == "x" else "y", color="#E6E6E6", linewidth=0.8)


def stacked(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """``count`` panels above each other on one x axis."""
    figure = new_figure(height)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)
    return figure, list(panels[:, 0])


def panel_grid(
    count: int, columns: int, *, around: float, each: float, shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """``count`` panels in rows of ``columns``, each row ``each`` inches high.

    ``around`` is the height of the rest, in inches; ``shared`` panels have the same axes.
    """
    rows = -(-count // columns)
    figure = new_figure(around + each * rows)
    cells = figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False).flat
    for unused in cells[count:]:
        unused.remove()
    return figure, list(cells[:count])


def four_digits(value: float) -> str:
    """A number with four significant digits and a typographic minus sign."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


UNKNOWN = "#CFCFCF"
"""The colour of a datum of unknown class or covariate."""


def class_look(place: int) -> tuple[str, int]:
    """The colour of a class, and the index of its marker, another every eight; -1: unknown."""
    if place < 0:
        return UNKNOWN, 0
    return PALETTE[place % len(PALETTE)], place // 8 % SHAPES


SHAPES = 4
"""Number of markers."""
