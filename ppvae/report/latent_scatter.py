"""Points of the latent map, their legend, and the plot next to it, in Bokeh."""

import math
from typing import Any, NamedTuple

import numpy as np

from ppvae.diagnostics.shared.wording import decimals
from ppvae.plots.arrays import Array, value_range
from ppvae.report.columns import ShownColumns
from ppvae.report.interactive import item, plain_text, plot
from ppvae.report.page_data import PageData
from ppvae.report.plane import Plane
from ppvae.report.sections import Key, Plot

MARGIN = 0.03
"""Margin around the plane, as a share of its size."""

MARKERS = ("circle", "triangle", "square", "diamond")
"""Markers, in the order of the numbers of `ppvae.plots.style.class_look`."""


class Looks(NamedTuple):
    """Colours, markers and legend of points.

    Attributes:
        colours: of each point.
        markers: of each point.
        names: the label of each, or empty.
        places: the entry of the legend of each; -1: none.
        keys: the legend.
    """

    colours: list[str]
    markers: list[str]
    names: list[str]
    places: list[int]
    keys: tuple[Key, ...]


def classes(page: PageData, few: int) -> Looks:
    """Colour, marker and label of each point, and the legend."""
    from ppvae import plots

    if page.labels is None:
        return Looks([plots.BLUE] * few, [MARKERS[0]] * few, [""] * few, [-1] * few, ())
    labels = page.labels[:few]
    names = page.run.label_names
    if labels.is_floating_point() or names is None:
        return _covariate(labels.double().numpy())
    known = [int(k) if 0 <= k < len(names) else -1 for k in labels]
    there = sorted(set(known) - {-1}) + ([-1] if -1 in known else [])
    told = {k: names[k] if k >= 0 else "unknown" for k in there}
    keys = tuple(Key(told[k], *_look(k), place) for place, k in enumerate(there))
    looks = [_look(k) for k in known]
    return Looks(
        [colour for colour, _ in looks], [marker for _, marker in looks],
        [told[k] for k in known], [there.index(k) for k in known], keys,
    )  # fmt: skip


def _look(place: int) -> tuple[str, str]:
    from ppvae.plots.style import class_look

    colour, shape = class_look(place)
    return colour, MARKERS[shape]


def _covariate(values: Array) -> Looks:
    from matplotlib.colors import to_hex

    from ppvae.plots.style import SEQUENTIAL

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = (values - low) / (high - low or 1.0)
    colours = [to_hex(SEQUENTIAL(float(s))) for s in share]
    keys = tuple(
        Key(f"label {decimals(end)}", to_hex(SEQUENTIAL(float(end > low))), MARKERS[0])
        for end in sorted({low, high})
    )
    told = [decimals(float(v)) for v in values]
    return Looks(colours, [MARKERS[0]] * len(values), told, [-1] * len(values), keys)


def frame(plane: Plane) -> tuple[list[float], list[float]]:
    """Corners of the map: a margin around the plane, so that no point is cut off."""
    low, high = np.array(plane.low), np.array(plane.high)
    margin = MARGIN * (high - low)
    return (low - margin).tolist(), (high + margin).tolist()


def scatter(plane: Plane, places: Array, look: Looks) -> dict[str, Any]:
    """Points, the movable cross, and the ring around the datum that is shown."""
    from bokeh.models import ColumnDataSource, CustomJS, Range1d
    from bokeh.models.annotations import Span

    low, high = frame(plane)
    figure = plot(
        aspect_ratio=1, sizing_mode="scale_width", name="map",
        x_range=Range1d(start=low[0], end=high[0]), y_range=Range1d(start=low[1], end=high[1]),
    )  # fmt: skip
    figure.ygrid.grid_line_color = None
    figure.xaxis.axis_label, figure.yaxis.axis_label = (plain_text(name) for name in plane.names)
    figure.yaxis.visible = len(plane.directions) == 2
    size = float(np.clip(160 / math.sqrt(len(places)), 6, 11))
    behind: dict[str, Any] = {name: [] for name in ("url", "x", "y", "w", "h")}
    figure.image_url(
        url="url", x="x", y="y", w="w", h="h", anchor="top_left",
        source=ColumnDataSource(behind, name="behind"),
    )  # fmt: skip
    points: dict[str, Any] = {
        "x": places[:, 0],
        "y": places[:, 1],
        "colour": look.colours,
        "marker": look.markers,
    }
    # The outline keeps pale colours visible on a white page, and dark ones on a dark page.
    figure.scatter(
        "x", "y", source=ColumnDataSource(points, name="points"), marker="marker",
        fill_color="colour", size=size, fill_alpha=0.85, line_color="#8A8A8A", line_width=0.7,
    )  # fmt: skip
    dotted: dict[str, Any] = {"location": 0, "line_width": 1, "line_dash": "dotted"}
    figure.add_layout(Span(dimension="height", name="cursor-x", **dotted))
    figure.add_layout(Span(dimension="width", name="cursor-y", **dotted))
    ellipse: dict[str, Any] = {name: [] for name in ("x", "y", "width", "height", "angle")}
    figure.ellipse(
        "x", "y", width="width", height="height", angle="angle", fill_color=None, line_width=1.5,
        line_color="#555555", tags=["ink"], source=ColumnDataSource(ellipse, name="ellipses"),
    )  # fmt: skip
    for name, marker, width in (("chosen", "circle", 18), ("cursor", "cross", 20)):
        source = ColumnDataSource({"x": [], "y": []}, name=name)
        figure.scatter(
            "x", "y", source=source, marker=marker, size=width, fill_color=None, line_width=2.5,
            line_color="#555555", tags=["ink"],
        )  # fmt: skip
    moved = CustomJS(code="ppvae.move(cb_obj.x, cb_obj.y)")
    for event in ("mousemove", "pan", "panstart"):
        figure.js_on_event(event, moved)
    # A tap comes without an earlier move.
    figure.js_on_event("tap", moved)
    return item(figure, "map-plot")


def readout(shown: ShownColumns, *tables: Array) -> Plot:
    """Decoded and original values by column, for data that are not images."""
    from bokeh.models import ColumnDataSource, Range1d

    from ppvae import plots

    low, high = value_range(*map(shown.values, tables))
    margin, width = 0.05 * (high - low), tables[0].shape[1]
    figure = plot(
        height=260, sizing_mode="stretch_width", name="readout",
        x_range=Range1d(start=-0.5, end=width - 0.5),
        y_range=Range1d(start=low - margin, end=high + margin), y_axis_label=shown.unit,
    )  # fmt: skip
    figure.xaxis.axis_label = plain_text("column index")
    figure.xaxis.ticker.min_interval = 1
    signs = (("original", plots.BLUE, "circle"), ("decoded", plots.VERMILLION, "x"))
    for name, colour, marker in signs:
        source = ColumnDataSource({"column": [], "value": []}, name=name)
        if not shown.columns.names:  # named columns have no order
            figure.line("column", "value", source=source, color=colour, line_width=1.5)
        if shown.columns.names or width <= 64:
            figure.scatter(
                "column", "value", source=source, color=colour, marker=marker, size=8, line_width=2
            )
    sign = ("x", "circle") if shown.columns.names else ("line", "line")
    keys = (
        Key("decoded at the cross", plots.VERMILLION, sign[0]),
        Key("the datum in the ring", plots.BLUE, sign[1]),
    )
    alt = "Values decoded at the cross and values of the datum in the ring, by column."
    return Plot("map-readout", item(figure, "map-readout"), alt, keys)
