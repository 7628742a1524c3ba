"""Decoded walks through the latent space."""

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ppvae.plots.arrays import Array, as_images, as_table, data_array, value_range
from ppvae.plots.columns import PLAIN, Columns
from ppvae.plots.mosaic import mosaic, mounted, paint, scale_note
from ppvae.plots.pictures import entitle, gap_between, label_columns
from ppvae.plots.style import (
    BLUE,
    PALETTE,
    SEQUENTIAL,
    VERMILLION,
    headline,
    house_style,
    settle,
    stacked,
)
from ppvae.plots.text import fitted


@house_style
def interpolation(
    means: npt.ArrayLike, *, title: str = "From one datum to another", columns: Columns = PLAIN
) -> Figure:
    """Decoded walks through the latent space.

    Args:
        means: ``(rows, steps, *shape)``; each row goes from the code of one datum (t = 0) to that
            of another (t = 1) in equal steps. Of images the first 12 rows are drawn, of a table the
            first 5.
        title: title of the figure.
        columns: the columns of a table.

    Raises:
        InputError: there is nothing to draw.

    """
    data = data_array(means, "means", 3)
    total, steps = data.shape[:2]
    images = as_images(data, 2)
    if images is None:
        return _table_walks(as_table(data, 2)[:5], entitle(title, min(5, total), total), columns)
    images = images[:12]
    limits = value_range(images)
    height, width = images.shape[-2:]
    gap = 2 * gap_between(height)
    rows = len(images)
    sheet, tops = mosaic(paint(images, limits), [0] + [gap] * (rows - 1), gap)
    figure, axes = mounted(
        sheet, left=0.6, title=entitle(title, rows, total), note=scale_note(images, limits)
    )
    lefts = [step * (width + gap) for step in range(steps)]
    ends = {0: BLUE, steps - 1: VERMILLION}
    for step, colour in ends.items():
        for top in tops:
            corner = (lefts[step] - 0.5, top - 0.5)
            axes.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2.5)
            )
    axes.set_xlim(-0.5 - gap / 2, sheet.shape[1] - 0.5 + gap / 2)
    axes.set_ylim(sheet.shape[0] - 0.5 + gap / 2, -0.5 - gap / 2)
    places = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    some = range(steps) if steps <= 11 else (0, steps - 1)
    axes.set_xticks(
        [lefts[i] + (width - 1) / 2 for i in some], labels=[f"{places[i]:.2g}" for i in some]
    )
    axes.set_xlabel("t, from one datum's code (0) to another's (1)")
    axes.tick_params(length=0, labelsize=11)
    for step, colour in ends.items():
        label = axes.get_xticklabels()[-1 if step else 0]
        label.set_color(colour)
        label.set_fontweight("bold")
    return figure


def _named_walks(walks: Array, title: str, table: Columns) -> Figure:
    """One line for each of the columns that change most along the walk."""
    rows, steps, _ = walks.shape
    figure, panels = stacked(rows, 1.4 + 1.4 * rows)
    # fmax and fmin skip missing values; columns without any value come last.
    change = np.fmax.reduce(walks, axis=1) - np.fmin.reduce(walks, axis=1)
    spread = np.fmax.reduce(change, axis=0)
    most = np.argsort(-spread, kind="stable")[:7]
    places = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    for i, axes in enumerate(panels):
        for colour, column in zip(PALETTE, most, strict=False):
            name = fitted(table.names[column], 1.8)
            axes.plot(
                places, walks[i, :, column], color=colour, marker="o", markersize=3, label=name
            )
        axes.set_ylabel(f"walk {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        settle(axes)
    panels[-1].set_xlabel("t, from one datum (0) to another (1)")
    figure.supylabel(table.value, fontsize=11)
    headline(figure, title)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper")
    return figure


def _table_walks(walks: Array, title: str, table: Columns) -> Figure:
    walks = table.shown(walks)
    low, width = table.scale(walks)
    walks = (walks - low) / width
    if table.names:
        return _named_walks(walks, title, table)
    rows, steps, columns = walks.shape
    figure, panels = stacked(rows, 1.4 + 1.4 * rows)
    scale = Normalize(0.0, 1.0)
    places = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    for i, axes in enumerate(panels):
        for step in range(steps):
            end = step in (0, steps - 1)
            axes.plot(
                np.arange(columns),
                walks[i, step],
                color=SEQUENTIAL(scale(places[step])),
                linewidth=2.6 if end else 1.0,
                marker="o" if columns <= 64 and end else "",
                markersize=4.5,
                zorder=3 if end else 2,
            )
        axes.set_ylabel(f"walk {i + 1}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        settle(axes)
    label_columns(figure, panels, title, table)
    mappable = mpl.cm.ScalarMappable(norm=scale, cmap=SEQUENTIAL)
    bar = figure.colorbar(mappable, ax=panels, label="t, from one datum (0) to another (1)")
    bar.outline.set_visible(False)
    settle(bar.ax)
    return figure
