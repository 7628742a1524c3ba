"""Rows of pictures for comparison."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ppvae.errors import InputError
from ppvae.plots.arrays import as_images, data_array, value_range
from ppvae.plots.mosaic import mosaic, mounted, paint, scale_note
from ppvae.plots.style import house_style, settle
from ppvae.plots.text import fitted

_MOST = 16
_LABEL = 1.6  # inches


@house_style
def side_by_side(rows: Mapping[str, npt.ArrayLike], *, title: str) -> Figure:
    """Named rows of images, all on one scale.

    Args:
        rows: by name, ``(N, C, H, W)`` with C 1 or 3, or ``(N, H, W)``; the first 16.
        title: title of the figure.

    Raises:
        InputError: there is nothing to draw, these are not images, or rows differ in shape.

    """
    data = {name: data_array(values, f"row '{name}'", 3)[:_MOST] for name, values in rows.items()}
    images = [as_images(values, 1) for values in data.values()]
    pictures = [values for values in images if values is not None]
    if not images or len(pictures) < len(images) or len({values.shape for values in pictures}) > 1:
        shapes = ", ".join(str(values.shape) for values in data.values())
        raise InputError(f"rows must be images (N, H, W) of one shape; they have: {shapes}")
    limits = value_range(*pictures)
    height = pictures[0].shape[2]
    gap = max(1, round(height / 14))
    tiles = np.stack([paint(values, limits) for values in pictures])
    sheet, tops = mosaic(tiles, [0] + [2 * gap] * (len(pictures) - 1), gap)
    note = scale_note(np.concatenate(pictures), limits)
    figure, axes = mounted(sheet, left=_LABEL, title=title, note=note)
    labels = [fitted(name, _LABEL - 0.2) for name in data]
    axes.set_yticks([top + (height - 1) / 2 for top in tops], labels=labels)
    settle(axes)
    axes.tick_params(length=0)
    return figure
