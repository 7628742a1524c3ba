"""Can the guide be trusted, datum by datum? Tails of the weights, and the data that are worst."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, Limits, as_images, data_array, value_range
from ppvae.plots.lettering import few_numbers, fitted, in_parts
from ppvae.plots.log_axes import label_decades
from ppvae.plots.mosaic import mosaic, paint, scale_note
from ppvae.plots.pictures import reconstructions
from ppvae.plots.style import (
    BLUE,
    DASHED,
    GREY,
    VERMILLION,
    WIDTH,
    four_digits,
    grid_lines,
    headline,
    house_style,
    new_figure,
    settle,
)

_ORANGE = "#E69F00"
_MOST = 8  # worst data, as pictures


@house_style
def reliability(
    khat: npt.ArrayLike,
    ess: npt.ArrayLike,
    *,
    samples: int,
    threshold: float,
    title: str = "Importance weights of each datum",
) -> Figure:
    """How heavy the tail of each datum's weights is, and how many draws they are worth.

    Args:
        khat: ``(N,)``, shapes of the Pareto distributions fitted to the largest weights. What is
            infinite has its zone and no bar: ``-inf`` where those weights are all equal, ``inf``
            where the rest are 0 beside the largest. Not a number is no fit, and no zone.
        ess: ``(N,)``, effective sample sizes, between 1 and ``samples``; on a log axis.
        samples: draws for each datum.
        threshold: k-hat from which an estimate of so many draws is not reliable, at most 0.7; from
            1 on the weights have no mean (Vehtari et al., 2024).
        title: said above.

    Raises:
        InputError: there are no data, or the shapes differ.

    """
    shape, effective = (np.asarray(a, dtype=np.float64) for a in (khat, ess))
    if shape.ndim != 1 or not len(shape) or shape.shape != effective.shape:
        raise InputError(
            "khat and ess must be one number for each datum; their shapes are "
            f"{shape.shape} and {effective.shape}"
        )
    hopeless = max(1.0, threshold)
    edge, end = four_digits(threshold), four_digits(hopeless)
    zones = [
        (BLUE, f"reliable: below {edge}", shape < threshold),
        (_ORANGE, f"biased: {edge} to {end}", (shape >= threshold) & (shape < hopeless)),
        (VERMILLION, f"no mean: from {end}", shape >= hopeless),
        ("#8C8C8C", "no $\\hat{k}$ fitted", np.isnan(shape)),
    ]
    there = [zone for zone in zones if zone[2].any()]
    figure = new_figure(5.4)
    upper, lower = figure.subplots(2, 1)
    _draw_khat(upper, shape, zones[:3], threshold)
    _draw_ess(lower, effective, there, samples)
    figure.align_ylabels([upper, lower])
    headline(figure, fitted(title, WIDTH - 0.4, size=12))
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=f"{name} ({_share(mine)})") for colour, name, mine in there
    ]
    handles.append(Line2D([], [], label=f"threshold {edge}", **DASHED))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


type _Zone = tuple[str, str, npt.NDArray[np.bool_]]


def _share(mine: npt.NDArray[np.bool_]) -> str:
    return f"{int(mine.sum()):,}, {mine.mean():.1%}"


def _draw_khat(axes: Axes, khat: Array, zones: Sequence[_Zone], threshold: float) -> None:
    finite = khat[np.isfinite(khat)]
    low = min([threshold - 0.2, *finite])
    high = max([threshold + 0.2, 1.05, *finite])
    # Whole bins on either side of the threshold and of 1: each has one colour.
    width = (high - low) / 30
    inner = sorted({threshold, max(1.0, threshold)})
    bins = [
        *np.arange(inner[0], low - 1.5 * width, -width)[::-1],
        *(np.linspace(inner[0], inner[1], max(2, round((inner[1] - inner[0]) / width) + 1))[1:]
          if len(inner) > 1 else []),
        *np.arange(inner[-1], high + 1.5 * width, width)[1:],
    ]  # fmt: skip
    for colour, _, mine in zones:
        axes.hist(khat[mine & np.isfinite(khat)], bins=bins, color=colour)
    axes.axvline(threshold, **DASHED)
    if not len(finite):
        axes.text(0.5, 0.5, "none is finite", transform=axes.transAxes, ha="center", color=GREY)
    axes.set_xlabel("Pareto $\\hat{k}$")
    _count_data(axes)
    axes.set_title(_not_drawn(khat), loc="right", fontsize=11, color=GREY)
    if not len(finite):
        axes.set_ylim(0, 1)
        axes.set_yticks([])
    few_numbers(axes.xaxis, 7, WIDTH - 1.0)


def _not_drawn(khat: Array) -> str:
    at = {"\N{MINUS SIGN}∞": int((khat == -np.inf).sum()), "∞": int((khat == np.inf).sum())}
    said = [f"{count:,} at {place}" for place, count in at.items() if count]
    return f"not drawn: {', '.join(said)}" if said else ""


def _draw_ess(axes: Axes, ess: Array, zones: Sequence[_Zone], samples: int) -> None:
    there = np.isfinite(ess) & (ess > 0)
    low, high = min([1.0, *ess[there]]), max([float(samples), 2.0, *ess[there]])
    bins = np.geomspace(low, high, 31)
    # Rounding must not put the greatest outside.
    bins[0], bins[-1] = low, high
    axes.hist(
        [ess[mine & there] for _, _, mine in zones],
        bins=bins.tolist(),
        color=[colour for colour, _, _ in zones],
        stacked=True,
    )
    axes.set_xscale("log")
    axes.set_xlim(low / 1.05, high * 1.05)
    label_decades(axes, "x", low, high)
    axes.set_xlabel(f"effective samples, of {samples:,}")
    left_out = int((~there).sum())
    if left_out:
        said = f"{left_out} of {len(ess)} not finite, left out"
        axes.set_title(said, loc="right", fontsize=11, color=GREY)
    _count_data(axes)


def _count_data(axes: Axes) -> None:
    axes.set_ylabel("data per bin")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    grid_lines(axes, "y")
    settle(axes)


@house_style
def worst_data(
    x: npt.ArrayLike,
    means: npt.ArrayLike,
    captions: Sequence[str],
    *,
    title: str = "The data that the guide does worst on",
) -> Figure:
    """The worst data, each above its reconstruction, with what is known of it.

    Args:
        x: ``(N, C, H, W)`` or ``(N, H, W)`` images, anything else a table ``(N, D)``; the worst
            first. Of images the first 8 are drawn, of a table the first 5.
        means: the means of p(x | z) at their codes, in the same shape.
        captions: one for each; two spaces divide its parts, of which lines are made.
        title: said above.

    Raises:
        InputError: there is nothing to draw, or shapes and captions do not fit.

    """
    data, rebuilt = data_array(x, "x", 2), data_array(means, "means", 2)
    if data.shape != rebuilt.shape:
        raise InputError(
            f"x and means must have one shape; they have {data.shape} and {rebuilt.shape}"
        )
    if len(captions) != len(data):
        raise InputError(f"captions must be one for each of {len(data)} data, not {len(captions)}")
    images, rebuilt_images = as_images(data, 1), as_images(rebuilt, 1)
    shown = min(len(data), 5 if images is None else _MOST)
    if shown < len(data):
        title = f"{title} ({shown} of {len(data)})"
    title = fitted(title, WIDTH - 0.4, size=12)
    if images is None or rebuilt_images is None:
        figure = reconstructions(data[:shown], rebuilt[:shown], title=title)
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
    said = [in_parts(caption, across - 0.08) for caption in captions[: len(images)]]
    lines = max(text.count("\n") for text in said) + 1
    height = min(2.6, across * 2.1 * tall / wide) + 0.2 * lines + 0.25
    figure = new_figure(min(11.0, 0.9 + rows * height))
    cells = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(cells.flat):
        if place >= len(images):
            axes.remove()
            continue
        pair = np.stack([images[place], rebuilt[place]])
        _show_pair(axes, pair, limits, labelled=place % columns == 0)
        axes.set_xlabel(said[place])
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
