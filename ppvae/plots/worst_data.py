"""The worst data, each next to its reconstruction."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, Limits, as_images, data_array, value_range
from ppvae.plots.columns import PLAIN, Columns
from ppvae.plots.mosaic import mosaic, paint, scale_note
from ppvae.plots.pictures import entitle, reconstructions
from ppvae.plots.style import GREY, WIDTH, headline, house_style, new_figure, settle
from ppvae.plots.text import fitted, in_parts

_MOST = 8  # images


@house_style
def worst_data(
    x: npt.ArrayLike,
    means: npt.ArrayLike,
    captions: Sequence[str],
    *,
    title: str = "The data that the guide fits worst",
    columns: Columns = PLAIN,
) -> Figure:
    """The worst data, each above its reconstruction, with captions.

    Args:
        x: ``(N, C, H, W)`` or ``(N, H, W)`` images, else a table ``(N, D)``; the worst first. The
            first 8 images, or 5 rows, are drawn.
        means: the means of p(x | z) at their codes, in the same shape.
        captions: one per datum; two spaces separate its parts, which are broken into lines.
        title: title of the figure.
        columns: the columns of a table.

    Raises:
        InputError: there is nothing to draw, or shapes and captions do not fit.

    """
    data, rebuilt = data_array(x, "x", 2), data_array(means, "means", 2)
    if data.shape != rebuilt.shape:
        raise InputError(
            f"x and means must have the same shape; they have {data.shape} and {rebuilt.shape}"
        )
    if len(captions) != len(data):
        raise InputError(f"captions must be one per datum, {len(data)}, not {len(captions)}")
    images, rebuilt_images = as_images(data, 1), as_images(rebuilt, 1)
    shown = min(len(data), 5 if images is None else _MOST)
    title = fitted(entitle(title, shown, len(data)), WIDTH - 0.4, size=12)
    if images is None or rebuilt_images is None:
        figure = reconstructions(data[:shown], rebuilt[:shown], title=title, columns=columns)
        figure.set_figheight(1.4 + 1.45 * shown)
        for axes, caption in zip(figure.axes, captions, strict=False):
            axes.set_ylabel("")
            axes.set_title(in_parts(caption, WIDTH - 1.4, lines=1), fontsize=11)
        return figure
    return _image_pairs(images[:shown], rebuilt_images[:shown], captions, title)


def _image_pairs(images: Array, rebuilt: Array, captions: Sequence[str], title: str) -> Figure:
    tall, wide = images.shape[-2:]
    # Wide images take fewer columns: a caption needs its width, and a picture its height.
    columns = min(4, max(1, int(6 * tall / wide)), max(2, len(images)))
    rows = -(-len(images) // columns)
    limits = value_range(images, rebuilt)
    across = (WIDTH - 1.3) / columns
    texts = [in_parts(caption, across - 0.08) for caption in captions[: len(images)]]
    lines = max(text.count("\n") for text in texts) + 1
    height = min(2.6, across * 2.1 * tall / wide) + 0.2 * lines + 0.25
    figure = new_figure(min(11.0, 0.9 + rows * height))
    cells = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(cells.flat):
        if place >= len(images):
            axes.remove()
            continue
        pair = np.stack([images[place], rebuilt[place]])
        _show_pair(axes, pair, limits, labelled=place % columns == 0)
        axes.set_xlabel(texts[place])
    headline(figure, title)
    both = np.concatenate([images, rebuilt])
    figure.supxlabel(scale_note(both, limits), fontsize=11, color=GREY)
    return figure


def _show_pair(axes: Axes, pair: Array, limits: Limits, *, labelled: bool) -> None:
    height = pair.shape[-2]
    gap = max(1, round(height / 14))
    sheet, tops = mosaic(paint(pair, limits)[:, None], [0, gap], 0)
    axes.imshow(sheet, interpolation="auto")
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    names = ["data", "rebuilt"] if labelled else []
    axes.set_yticks([top + (height - 1) / 2 for top in tops][: len(names)], labels=names)
    settle(axes)
    axes.tick_params(length=0)
