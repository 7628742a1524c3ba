"""Mosaics: many small images in one picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.plots.arrays import Array, Limits
from ppvae.plots.style import GREY, WIDTH, four_digits, new_figure

_MISSING = np.array([0.78, 0.86, 0.93])  # a missing value of an image
_GAP = np.array([0.75, 0.75, 0.75, 1.0])  # between tiles with white edges


def paint(images: Array, limits: Limits) -> Array:
    """``(..., C, H, W)`` of any range as ``(..., H, W, 3)`` in [0, 1]; missing values are blue."""
    low, high = limits
    rgb = np.moveaxis(images, -3, -1)
    missing = ~np.isfinite(rgb).all(axis=-1)
    painted = np.clip((rgb - low) / (high - low), 0.0, 1.0)
    painted = np.ascontiguousarray(np.broadcast_to(painted, (*painted.shape[:-1], 3)))
    painted[missing] = _MISSING
    return painted


def scale_note(images: Array, limits: Limits) -> str:
    """Meaning of the colours of `paint`."""
    low, high = (four_digits(float(f"{limit:.3g}")) for limit in limits)
    note = f"black {low}, white {high}"
    if images.shape[-3] == 3:
        note = f"each colour from {low} to {high}"
    return note if np.isfinite(images).all() else f"{note}, pale blue missing"


def mosaic(tiles: Array, row_gaps: Sequence[int], column_gap: int) -> tuple[Array, list[int]]:
    """A picture of tiles ``(rows, columns, H, W, 3)``, and the top of each row.

    ``row_gaps[r]`` is the room above row r, in pixels. The picture has an alpha channel: gaps
    between tiles, and tiles of NaN, are transparent, or grey if many tiles have white edges, which
    would run into a white page.
    """
    rows, columns, height, width, _ = tiles.shape
    tops = [int(sum(row_gaps[: r + 1])) + r * height for r in range(rows)]
    sheet = np.zeros((tops[-1] + height, columns * (width + column_gap) - column_gap, 4))
    if _has_white_edges(tiles):
        sheet[:] = _GAP
    for r, top in enumerate(tops):
        for c in range(columns):
            left = c * (width + column_gap)
            if not np.isnan(tiles[r, c]).any():
                sheet[top : top + height, left : left + width, :3] = tiles[r, c]
                sheet[top : top + height, left : left + width, 3] = 1
    return sheet, tops


def _has_white_edges(tiles: Array) -> bool:
    edges = (tiles[..., [0, -1], :, :], tiles[..., [0, -1], :])
    darkest = np.concatenate([edge.reshape(-1, 3).min(axis=1) for edge in edges])
    return bool((darkest > 0.9).mean() > 0.1)


def mounted(sheet: Array, *, left: float, title: str, note: str) -> tuple[Figure, Axes]:
    """A picture with room for its labels at the ``left``, a title and a note on its colours."""
    tall, wide = sheet.shape[:2]
    width = WIDTH - left
    height = min(width * tall / wide, 8.0)
    if wide < 3 * tall and wide < 48:  # few small pictures do not fill the width
        height = min(height, 3.6)
    figure = new_figure(height + 0.9)
    axes = figure.add_subplot()
    axes.imshow(sheet, interpolation="auto")
    is_framed = bool((sheet == _GAP).all(axis=-1).any())
    axes.spines[:].set_visible(is_framed)
    axes.spines[:].set_color(_GAP)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    figure.supxlabel(note, fontsize=11, color=GREY)
    return figure, axes
