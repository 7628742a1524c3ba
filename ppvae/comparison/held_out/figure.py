"""Figure of runs: held-out log p(x) of each, and its distance to the best."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.comparison.held_out.result import HeldOut, Row
from ppvae.plots.style import (
    BLUE,
    DASHED,
    GREY,
    NATS,
    grid_lines,
    headline,
    house_style,
    new_figure,
    settle,
)
from ppvae.plots.text import few_numbers, fitted

ROW = 0.42  # inches


@house_style
def draw_runs(rows: Sequence[Row], what: str = "held-out log p(x)") -> Figure:
    """A forest plot: one line per row, the best at the top.

    The left panel shows log p(x) with its standard error, each seed as a dot; the right panel the
    paired difference from the best on the same data, whose error is often much smaller.
    """
    figure = new_figure(1.25 + ROW * len(rows))
    headline(figure, f"{what.capitalize()}, higher is better")
    panels = list(figure.subplots(1, 2, sharey=True))
    _draw(panels[0], [row.log_p for row in rows])
    for place, row in enumerate(rows):
        if len(row.runs) > 1:
            seeds = [float(run.log_p.mean()) for run in row.runs]
            panels[0].scatter(
                seeds, [place + 0.24] * len(seeds), s=14, color=GREY, linewidths=0, alpha=0.8
            )
    _draw(panels[1], [row.difference for row in rows])
    panels[1].axvline(0, zorder=0, **DASHED)
    panels[0].set_ylim(len(rows) - 0.45, -0.55)
    panels[0].set_yticks(range(len(rows)), labels=[fitted(row.name, 1.6, lines=2) for row in rows])
    for axes, title in zip(panels, ("mean ± se", "minus the best"), strict=True):
        axes.set_title(title)
        axes.set_xlabel(NATS)
        few_numbers(axes.xaxis, room=1.4)
        grid_lines(axes, "x")
        settle(axes)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    return figure


def _draw(axes: Axes, values: Sequence[HeldOut]) -> None:
    for place, value in enumerate(values):
        axes.errorbar(
            value.mean, place, xerr=value.error or None, color=BLUE, marker="o", markersize=6,
            capsize=4, elinewidth=1.6,
        )  # fmt: skip
    ends = [v.mean + sign * v.error for v in values for sign in (-1, 1)]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)


def alt_text(rows: Sequence[Row], what: str) -> str:
    """Alternative text of the figure."""
    told = "; ".join(
        f"{row.name} {row.log_p.mean:.2f}, {row.difference.mean:.2f} minus the best"
        for row in rows
    )  # fmt: skip
    return f"{what.capitalize()} of each run in nats per datum, the best first: {told}."
