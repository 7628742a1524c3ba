"""Loss budget: one bar for each place where nats are lost."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from ppvae.errors import InputError
from ppvae.plots.rows import ROW, Row, draw_rows
from ppvae.plots.style import WIDTH, house_style, new_figure
from ppvae.plots.text import fitted


@house_style
def budget(
    rows: Sequence[tuple[str, float, float | None]],
    *,
    title: str = "Where the nats are lost",
    largest_first: bool = True,
) -> Figure:
    """Bars of losses, each with its value and standard error.

    Args:
        rows: for each loss its name, nats per datum, and their standard error or ``None``. An
            estimated loss may be negative, within its error; one that is not finite comes last,
            without a bar.
        title: title of the figure.
        largest_first: sort with the largest on top; else keep the order of ``rows``.

    Raises:
        InputError: there are no rows.

    """
    if not rows:
        raise InputError("there is no loss to draw: rows is empty")
    bars = [Row(name, float(value), error) for name, value, error in rows]
    if largest_first:
        bars.sort(key=lambda bar: -bar.value if math.isfinite(bar.value) else math.inf)
    figure = new_figure(0.95 + ROW * len(bars))
    axes = figure.add_subplot()
    axes.set_title(fitted(title, WIDTH - 2.2, size=12))
    draw_rows(axes, bars)
    return figure
