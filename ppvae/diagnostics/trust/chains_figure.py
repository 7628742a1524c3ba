"""Figure of posterior draws and the ellipses of the guide."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, Limits, as_images, as_table, data_array, value_range
from ppvae.plots.mosaic import paint
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
from ppvae.plots.text import few_numbers, fitted, in_parts

_MOST = 6
_PICTURE = 0.55  # inches


@house_style
def draw_posterior_against_guide(
    draws: npt.ArrayLike,
    loc: npt.ArrayLike,
    scale: npt.ArrayLike,
    *,
    names: Sequence[str] = ("$z_1$", "$z_2$"),
    titles: Sequence[str] | None = None,
    images: npt.ArrayLike | None = None,
) -> Figure:
    """Two latent dimensions of p(z | x) of single data, and q(z | x) over them.

    Args:
        draws: ``(data, n, 2)``, draws from p(z | x), as points; data after the sixth are not drawn.
        loc: ``(data, 2)``, the guide's means.
        scale: ``(data, 2)``, its standard deviations: ellipses at one and two of them.
        names: names of the two dimensions.
        titles: titles of the data; default ``"datum 1"`` and so on.
        images: ``(data, *shape)``, the data, drawn small next to the titles, as pictures or else as
            curves.

    Raises:
        InputError: the shapes do not fit, a scale is negative, or a datum has no finite draw.

    """
    points = data_array(draws, "draws", 3)
    centres, scales = (np.asarray(a, dtype=np.float64) for a in (loc, scale))
    total = len(points)
    if points.shape[2:] != (2,) or not centres.shape == scales.shape == (total, 2):
        raise InputError(
            "draws must be (data, n, 2), and loc and scale (data, 2); their shapes are "
            f"{points.shape}, {centres.shape} and {scales.shape}"
        )
    if not (scales >= 0).all() or not np.isfinite(scales).all() or not np.isfinite(centres).all():
        raise InputError("loc and scale must be finite, and scale at least 0")
    empty = np.flatnonzero(~np.isfinite(points).all(axis=2).any(axis=1))
    if len(empty):
        raise InputError(f"datum {empty[0] + 1} has no finite draw")
    labels = [f"datum {i + 1}" for i in range(total)] if titles is None else list(titles)
    shown = None if images is None else data_array(images, "images", 2)
    if len(labels) != total or len(names) != 2 or (shown is not None and len(shown) != total):
        raise InputError(f"titles and images must be one per datum, {total}, and names two")

    count = min(total, _MOST)
    columns = 1 if count == 1 else 2 if count <= 4 else 3
    across = (WIDTH - 0.6) / columns - 0.75
    each = 2.9 if columns < 3 else 2.5
    figure, panels = panel_grid(count, columns, around=1.2, each=each)
    height = each - (0.9 if shown is not None else 0.6)
    room = across - (_PICTURE + 0.1 if shown is not None else 0.0)
    for place, axes in enumerate(panels):
        cloud = points[place][np.isfinite(points[place]).all(axis=1)]
        _draw_datum(axes, cloud, centres[place], scales[place], across)
        axes.set_title(in_parts(labels[place], room, size=11, lines=3), fontsize=11, y=1.02, pad=0)
        if place + columns >= count:
            axes.set_xlabel(_named(names[0], across))
        if place % columns == 0:
            axes.set_ylabel(_named(names[1], height))
        if shown is not None:
            box = (1 - _PICTURE / across, 1.03, _PICTURE / across, _PICTURE / height)
            _draw_portrait(axes.inset_axes(box), shown[place], value_range(shown))
    title = "The posterior by NUTS, and the guide"
    headline(figure, title if count == total else f"{title} ({count} of {total} data)")
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=BLUE, label="draws from p(z | x)"),
        Line2D([], [], label="guide q(z | x), 1 and 2 sd", **_GUIDE),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _named(name: str, inches: float) -> str:
    """A formula unchanged; another name shortened to the available room."""
    is_formula = name.startswith("$") and name.endswith("$") and name.count("$") == 2
    return name if is_formula else fitted(name, inches)


_GUIDE: Look = {"color": VERMILLION, "linewidth": 2}


def _draw_datum(axes: Axes, draws: Array, loc: Array, scale: Array, across: float) -> None:
    count = len(draws)
    dots: Look = {
        "s": float(np.clip(6000 / count, 5, 25)),
        "alpha": float(np.clip(400 / count, 0.15, 0.7)),
        "linewidths": 0,
        "rasterized": True,
    }
    axes.scatter(draws[:, 0], draws[:, 1], color=BLUE, **dots)
    turn = np.linspace(0, 2 * np.pi, 181)
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    for radius in (1, 2):
        ellipse = loc + radius * scale * circle
        axes.plot(ellipse[:, 0], ellipse[:, 1], zorder=3, **_GUIDE)
    axes.plot(*loc, marker="+", markersize=10, markeredgewidth=2, zorder=3, **_GUIDE)
    few_numbers(axes.xaxis, 3, across)
    few_numbers(axes.yaxis, 4)
    settle(axes)


def _draw_portrait(axes: Axes, datum: Array, limits: Limits) -> None:
    image = as_images(datum[None], 1)
    if image is not None:
        axes.imshow(paint(image[0], limits), interpolation="auto")
        axes.set_anchor("E")
    else:
        axes.plot(as_table(datum[None], 1)[0], color="#000000", linewidth=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
