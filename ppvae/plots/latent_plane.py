"""The decoded plane of two latents."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images, as_table, data_array, value_range
from ppvae.plots.mosaic import mosaic, mounted, paint, scale_note
from ppvae.plots.style import BLUE, GREY, four_digits, house_style, new_figure, settle


@house_style
def manifold(
    means: npt.ArrayLike, grid: npt.ArrayLike, *, title: str = "The latent plane, decoded"
) -> Figure:
    """The mean of p(x | z) over a grid on the plane of two latents.

    Args:
        means: ``(rows, columns, *shape)``: images are drawn as a mosaic, other data as small
            curves.
        grid: ``(rows, columns, 2)``, the z of each; or ``(n,)``, with ``means[i, j]`` decoded at z1
            = ``grid[j]``, z2 = ``grid[i]``. Whatever its order, z1 increases to the right and z2
            upwards.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, or the grid does not fit.

    """
    data = data_array(means, "means", 3)
    rows, columns = data.shape[:2]
    z1, z2 = _read_grid(np.asarray(grid, dtype=np.float64), rows, columns)
    data = data[np.argsort(-z2)][:, np.argsort(z1)]
    z1, z2 = np.sort(z1), -np.sort(-z2)
    images = as_images(data, 2)
    if images is not None:
        height, width = images.shape[-2:]
        limits = value_range(images)
        gap = max(1, round(height / 14))
        sheet, _ = mosaic(paint(images, limits), [0] + [gap] * (rows - 1), gap)
        height, width = height + gap, width + gap
        note = scale_note(images, limits)
        figure, axes = mounted(sheet, left=0.9, title=title, note=note)
    else:
        height, width, gap = 1, 1, 0
        figure = new_figure(5.4)
        axes = figure.add_subplot()
        axes.set_title(title)
        _sparklines(axes, as_table(data, 2))
        limits = value_range(data)
        low, high = (four_digits(limit) for limit in limits)
        figure.supxlabel(
            f"each curve: value by column, from {low} to {high}", fontsize=11, color=GREY
        )
    for axis, values, size, most in (
        (axes.xaxis, z1, width, 7),
        (axes.yaxis, z2, height, 9),
    ):
        at = _ticks(values, most)
        order = np.argsort(values)
        centres = np.arange(len(values)) * size + (size - gap - 1) / 2
        axis.set_ticks(
            np.interp(at, values[order], centres[order]).tolist(),
            labels=[four_digits(round(value, 2) + 0.0) for value in at],  # no -0
        )
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    settle(axes)
    return figure


def _ticks(values: Array, most: int) -> list[float]:
    """Ticks of an axis of nodes: round numbers, or nodes if these are uneven."""
    steps = np.diff(values)
    if len(values) > most and np.allclose(steps, steps.mean(), rtol=1e-3):
        low, high = float(values.min()), float(values.max())
        return [
            float(t)
            for t in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
            if low <= t <= high
        ]
    stride = -(-len(values) // most)
    some: list[float] = values[(len(values) - 1) % stride // 2 :: stride].tolist()
    return some


def _read_grid(grid: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """z1 of each column, z2 of each row."""
    if grid.ndim == 1 and rows == columns == len(grid):
        return grid, grid
    if grid.shape == (rows, columns, 2):
        z1, z2 = grid[0, :, 0], grid[:, 0, 1]
        if np.allclose(grid[..., 0], z1) and np.allclose(grid[..., 1], z2[:, None]):
            return z1, z2
        raise InputError("grid must be rectangular: one z1 per column, one z2 per row")
    raise InputError(
        f"grid must be ({rows}, {columns}, 2), or one value for each row and column; its shape is "
        f"{grid.shape}"
    )


def _sparklines(axes: Axes, table: Array) -> None:
    """``(rows, columns, D)``: a curve in each cell, cell (r, c) centred at (c, r), row 0 on top."""
    rows, columns, width = table.shape
    low, high = value_range(table)
    if width == 1:
        table = np.repeat(table, 2, axis=2)
    across = np.linspace(-0.4, 0.4, table.shape[2])
    curves = [
        np.column_stack([c + across, r + 0.4 - 0.8 * (table[r, c] - low) / (high - low)])
        for r in range(rows)
        for c in range(columns)
    ]
    axes.add_collection(LineCollection(curves, colors=BLUE, linewidths=1.2))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
