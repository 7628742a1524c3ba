"""Curves of several quantities over one axis."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, data_array
from ppvae.plots.log_axes import label_counts, label_decades
from ppvae.plots.style import (
    DASHED,
    OKABE_ITO,
    Look,
    grid_lines,
    headline,
    house_style,
    settle,
    stacked,
)
from ppvae.plots.text import few_numbers

_MARKERS = "osD^v"
_FEW = 20  # up to so many points have markers


@house_style
def curves(
    x: npt.ArrayLike,
    panels: Mapping[str, Mapping[str, npt.ArrayLike]],
    *,
    across: str,
    title: str,
    log: bool = False,
    marks: Mapping[str, float] = {},
) -> Figure:
    """A panel for each quantity, and in it a curve for each name.

    A name has the same colour in all panels. Values that are not finite are left out.

    Args:
        x: ``(n,)``, the varied quantity, in the order of the curves.
        panels: for each label of a y axis, curves by name, ``(n,)`` each. A single curve may be
            named ``""`` and has no legend.
        across: label of the x axis.
        title: title of the figure.
        log: whether x is on a logarithmic axis.
        marks: marked places on the x axis, by name.

    Raises:
        InputError: there is nothing to draw, a curve and x differ in length, or x is not positive
            on a logarithmic axis.

    """
    places = data_array(x, "x", 1)
    by_panel = {up: {n: np.asarray(y, float) for n, y in of.items()} for up, of in panels.items()}
    _check(places, by_panel, log)
    names = list(dict.fromkeys(name for of in by_panel.values() for name in of))
    figure, cells = stacked(len(by_panel), 1.2 + (3.4 if len(by_panel) == 1 else 1.7) * len(panels))
    looks = {name: _look(i, len(places)) for i, name in enumerate(names)}
    for axes, (up, of) in zip(cells, by_panel.items(), strict=True):
        for name, y in of.items():
            axes.plot(places, y, label=name, **looks[name])
        for name, place in marks.items():
            axes.axvline(place, label=name, zorder=0, **DASHED)
        axes.set_ylabel(up)
        if log:
            if len(places) <= _FEW:
                label_counts(axes, places.tolist(), apart=0.1)
            else:
                axes.set_xscale("log")
                label_decades(axes, "x", float(places.min()), float(places.max()))
        few_numbers(axes.yaxis, 5)
        grid_lines(axes, "y")
        settle(axes)
    cells[-1].set_xlabel(across)
    figure.align_ylabels(cells)
    headline(figure, title)
    told: dict[str, Artist] = {}
    for axes in cells:
        handles, texts = axes.get_legend_handles_labels()
        told |= dict(zip(texts, handles, strict=True))
    if marks or len(told) > 1:
        columns = min(len(told), 3)
        figure.legend(list(told.values()), list(told), loc="outside lower center", ncols=columns)
    return figure


def _check(x: Array, panels: Mapping[str, Mapping[str, Array]], log: bool) -> None:
    if x.ndim != 1 or not panels or not all(panels.values()):
        raise InputError(f"x must be (n,), and each panel needs a curve; x has shape {x.shape}")
    for of in panels.values():
        for name, y in of.items():
            if y.shape != x.shape:
                raise InputError(f"curve '{name}' has shape {y.shape}, and x has {x.shape}")
    if log and not (x > 0).all():
        raise InputError(
            f"the minimum of x is {x.min():g}, but a logarithmic axis needs positive values"
        )


def _look(place: int, points: int) -> Look:
    look: Look = {"color": OKABE_ITO[(0, 1, 2, 3, 5, 4, 7)[place % 7]]}
    if points <= _FEW:
        look |= {"marker": _MARKERS[place % len(_MARKERS)], "markersize": 6}
    return look
