"""Horizontal bars: the name at the left, the number in a column at the right."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from ppvae.plots.style import BLUE, GREY, NATS, Look, grid_lines, settle
from ppvae.plots.text import few_numbers, fitted, measured

ROW = 0.44  # inches, room for two lines


class Row(NamedTuple):
    """One row.

    Attributes:
        name: at the left.
        value: the number at the right; nothing is drawn if it is not finite.
        error: its standard error.
        start: where the bar begins; it ends at ``start + value``.
        colour: of the bar.
        is_level: whether the number is a level, drawn as a point instead of a bar.
        hatched: whether the bar is.
    """

    name: str
    value: float
    error: float | None = None
    start: float = 0.0
    colour: str = BLUE
    is_level: bool = False
    hatched: bool = False

    @property
    def end(self) -> float:
        """Where the bar ends."""
        return self.value if self.is_level else self.start + self.value

    @property
    def spread(self) -> float:
        """The error, or 0 if there is none to draw."""
        return self.error if self.error is not None and math.isfinite(self.error) else 0.0


def draw_rows(axes: Axes, rows: Sequence[Row], *, linked: bool = False) -> None:
    """Draw rows from top to bottom; if ``linked``, a thin line joins each bar to the one above."""
    axes.set_axisbelow(True)
    for place, row in enumerate(rows):
        number = measured(row.value, row.error)
        where: Look = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 11}
        axes.text(1.02, place, number, color="#222222", **where)
        if not math.isfinite(row.value):
            continue
        if not row.is_level:
            hatch: Look = {"hatch": "///", "edgecolor": "white"} if row.hatched else {}
            axes.barh(place, row.value, left=row.start, height=0.62, color=row.colour, **hatch)
        dot: Look = {"color": row.colour if row.is_level else "#222222", "elinewidth": 1.4}
        if row.is_level or row.spread:
            axes.errorbar(
                row.end,
                place,
                xerr=row.spread or None,
                marker="D" if row.is_level else "",
                markersize=7,
                capsize=4,
                zorder=3,
                **dot,
            )
        if linked and place + 1 < len(rows):
            axes.plot([row.end] * 2, [place, place + 1], color=GREY, linewidth=0.8, zorder=0)
    _frame(axes, rows)


def _frame(axes: Axes, rows: Sequence[Row]) -> None:
    there = [row for row in rows if math.isfinite(row.value)]
    bases = [row.start for row in there if not row.is_level]
    ends = [row.end + sign * row.spread for row in there for sign in (-1, 1)]
    low, high = min([*bases, *ends], default=0.0), max([*bases, *ends], default=1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    margin = 0.04 * (high - low)
    # If all bars start at zero, so does the axis.
    axes.set_xlim(low - margin * (low != 0), high + margin * (high != 0))
    if low < 0 < high:
        axes.axvline(0, color="#8A8A8A", linewidth=0.8, zorder=0)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), labels=[fitted(row.name, 1.9, lines=2) for row in rows])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(NATS)
    few_numbers(axes.xaxis, room=2.9)
    grid_lines(axes, "x")
    settle(axes)
    axes.tick_params(axis="y", length=0)
