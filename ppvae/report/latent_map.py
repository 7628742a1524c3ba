"""The map of the latent plane: data as points, and the decoder's picture wherever one points."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images, as_table, value_range
from ppvae.plots.mosaic import mosaic, paint
from ppvae.report.interactive import item, plain_text, plot
from ppvae.report.material import Material
from ppvae.report.parts import Key, Picture, Plot, Section, decimals
from ppvae.report.pictures import drawn, packed, read
from ppvae.report.plane import Plane, decoded, plane_of

__all__ = ["section"]

TITLE = "Latent map"

SIDE = 25
"""Most nodes of the grid along an axis: odd, so that one is in the middle."""

TILE = 48
"""Most pixels along a side of a picture on the map; larger ones are shrunk."""

DECODED = 1_000_000
"""Most numbers of all decoded pictures together."""

ORIGINALS = 600_000
"""Most numbers of all data on the map together."""

WIDEST = 20_000
"""Most columns of data that are no images."""

MARGIN = 0.03
"""What is shown around the plane, as a share of it."""

MARKERS = ("circle", "triangle", "square", "diamond")
"""By the number that `ppvae.plots.style.class_look` gives."""


def section(material: Material) -> Section:
    """The map."""
    if not material.embedding.loc:
        raise InputError("no latent has a place for each datum, so that there is nothing to map")
    codes = material.embedding.joined().double()
    if not bool(codes.isfinite().all()):
        raise InputError("codes of the data are not finite: the fit has diverged")
    if not material.run.audit.supports:
        raise InputError("no site of the model observes x itself, so that nothing is decoded")
    plane = plane_of(codes)
    x = _seen(material)
    few = _count(ORIGINALS, x.shape[1:], len(x))
    places = plane.coordinates(codes)[:few].numpy()
    centre = np.array([plane.low, plane.high]).mean(0)
    reference = int(((places - centre) ** 2).sum(1).argmin())
    columns, rows = _grid(x.shape[1:], len(plane.directions))
    means = _shrunk(decoded(material, plane.nodes(columns, rows), reference))
    colours, markers, names, keys = _classes(material, few)
    held: dict[str, Any] = {
        "low": plane.low, "high": plane.high, "columns": columns, "rows": rows,
        "axes": list(plane.names),
        "x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "labels": names,
        "numbers": material.order[:few].tolist(), "data": material.data_name,
    }  # fmt: skip
    coloured = ", coloured by label" if keys else ""
    alt = f"Codes of {few:,} {material.data_name} data on the plane{coloured}."
    still = [_still(material, codes, coloured)]
    images, originals = as_images(means.numpy().astype(np.float64), 1), as_images(x[:few], 1)
    readout = None
    if images is not None and originals is not None:
        limits = value_range(images, originals)
        held |= {"width": images.shape[-1], "height": images.shape[-2]}
        held["across"] = _across(few)
        caption = f"What is decoded on the plane: from left to right {_ends(plane, 0)}" + (
            f", from bottom to top {_ends(plane, 1)}." if plane.names[1] else "."
        )
        said = f"The decoder's pictures at {columns} by {rows} points of the plane."
        still.append(Picture(_sprite(images, columns, limits), said, "map-decoded", caption))
        # The data themselves are read by the script alone.
        held["originals"] = _sprite(originals, held["across"], limits)
    else:
        table, data = as_table(means.numpy(), 1), as_table(x[:few], 1)
        held |= {"width": table.shape[1], "height": 0}
        held["decoded"], held["originals"] = _floats(table), _floats(data)
        readout = _readout(table.shape[1], value_range(table, data))
    return Section(
        "map", TITLE, tuple(_sentences(material, plane, few, places, reference)),
        plot=Plot("map-plot", _scatter(plane, places, colours, markers), alt, keys),
        still=tuple(still), map=held, readout=readout,
    )  # fmt: skip


def _sentences(
    material: Material, plane: Plane, few: int, places: Array, reference: int
) -> Sequence[str]:
    low, high = _frame(plane)
    outside = int(((places < low) | (places > high)).any(1).sum())
    where = f"Each point is the code of one of {few:,} {material.data_name} data"
    where += (
        f"; {outside:,} lie{'s' if outside == 1 else ''} outside the frame." if outside else "."
    )
    said = [f"{where} {plane.sentence}"]
    beside = set(material.run.audit.latents) - set(material.embedding.loc)
    beside |= {"y"} & set(material.run.pair.names("model"))
    if beside:
        said.append(
            f"What the model takes beside the codes ({', '.join(sorted(beside))}) is everywhere "
            f"that of row {int(material.order[reference]):,}."
        )
    return said


def _ends(plane: Plane, axis: int) -> str:
    low, high = decimals(plane.low[axis]), decimals(plane.high[axis])
    return f"{plane.names[axis]} from {low} to {high}"


def _still(material: Material, codes: Tensor, coloured: str) -> Picture:
    """The codes as a figure: that of the fit, where the page is of the same data."""
    from ppvae import plots

    # The fit's figure has more data than the map.
    where = "in the latent space" if codes.shape[1] <= 2 else "on two principal components"
    alt = f"Codes of {material.data_name} data {where}{coloured}."
    file = material.run_figure("latent") if material.data_name == "test" else None
    if file is not None:
        return read(file, alt)
    if material.labels is None:
        return drawn(plots.latent(codes.numpy()), alt)
    labels, names = material.labels.double(), material.run.label_names
    if names is not None:
        labels = labels.masked_fill(labels < 0, math.nan)
    return drawn(plots.latent(codes.numpy(), labels.numpy(), names), alt)


def _seen(material: Material) -> Array:
    """The data shown, as small as the map has them, unobserved entries not numbers."""
    batch = material.rows.take(torch.arange(len(material.rows)))
    x = batch["x"].float()
    if "mask" in batch:
        x = x.masked_fill(~batch["mask"], math.nan)
    return np.asarray(_shrunk(x).numpy(), dtype=np.float64)


def _shrunk(x: Tensor) -> Tensor:
    """Images no larger than a tile, by averages; what is no image as it is."""
    images = as_images(np.empty((1, *x.shape[1:])), 1)
    if images is None:
        if x[0].numel() > WIDEST:
            raise InputError(f"a datum has {x[0].numel():,} columns, too many for the map")
        return x.float()
    height, width = x.shape[-2:]
    ratio = min(1.0, TILE / max(height, width))
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    if size == (height, width):
        return x.float()
    flat = x.float().reshape(len(x), -1, height, width)
    small = torch.nn.functional.adaptive_avg_pool2d(flat, size)
    return small.reshape(*x.shape[:-2], *size)


def _count(most: int, shape: Sequence[int], there: int) -> int:
    return max(1, min(there, most // math.prod(shape)))


def _grid(shape: Sequence[int], directions: int) -> tuple[int, int]:
    """Nodes across and up."""
    nodes = DECODED // math.prod(shape)
    if directions == 1:
        return max(3, min(8 * SIDE + 1, nodes)), 1
    side = max(3, min(SIDE, math.isqrt(nodes)))
    side -= side % 2 == 0
    return side, side


def _across(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _sprite(images: Array, columns: int, limits: tuple[float, float]) -> str:
    """Images ``(N, C, H, W)`` as one picture, row by row."""
    from PIL import Image

    painted = paint(images, limits)
    rows = -(-len(painted) // columns)
    tiles = np.ones((rows * columns, *painted.shape[1:]))
    tiles[: len(painted)] = painted
    sheet, _ = mosaic(tiles.reshape(rows, columns, *painted.shape[1:]), [0] * rows, 0)
    image = Image.fromarray((sheet * 255).round().astype(np.uint8))
    if images.shape[1] == 1 and bool(np.isfinite(images).all()):
        image = image.convert("L")
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    return packed(png.getvalue())


def _floats(table: Array) -> str:
    return base64.b64encode(table.astype("<f4").tobytes()).decode()


def _classes(
    material: Material, few: int
) -> tuple[list[str], list[str], list[str], tuple[Key, ...]]:
    """Colour, marker and label of each point, and the legend."""
    from ppvae import plots

    if material.labels is None:
        return [plots.BLUE] * few, [MARKERS[0]] * few, [""] * few, ()
    labels = material.labels[:few]
    names = material.run.label_names
    if labels.is_floating_point() or names is None:
        return _covariate(labels.double().numpy())
    keys = tuple(
        Key(names[k], *_look(k)) for k in sorted({int(k) for k in labels if 0 <= k < len(names)})
    )
    looks = [_look(int(k)) for k in labels]
    text = [names[int(k)] if 0 <= k < len(names) else "not known" for k in labels]
    if bool((labels < 0).any()):
        keys = (*keys, Key("not known", *_look(-1)))
    return [colour for colour, _ in looks], [marker for _, marker in looks], text, keys


def _look(place: int) -> tuple[str, str]:
    from ppvae.plots.style import class_look

    colour, shape = class_look(place)
    return colour, MARKERS[shape]


def _covariate(values: Array) -> tuple[list[str], list[str], list[str], tuple[Key, ...]]:
    from matplotlib.colors import to_hex

    from ppvae.plots.style import SEQUENTIAL

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = (values - low) / (high - low or 1.0)
    colours = [to_hex(SEQUENTIAL(float(s))) for s in share]
    keys = tuple(
        Key(f"label {decimals(end)}", to_hex(SEQUENTIAL(float(end > low))), MARKERS[0])
        for end in sorted({low, high})
    )
    return colours, [MARKERS[0]] * len(values), [decimals(float(v)) for v in values], keys


def _frame(plane: Plane) -> tuple[list[float], list[float]]:
    """The corners of the map: a margin around the plane, so that no point is cut in two."""
    low, high = np.array(plane.low), np.array(plane.high)
    margin = MARGIN * (high - low)
    return (low - margin).tolist(), (high + margin).tolist()


def _scatter(plane: Plane, places: Array, colours: list[str], markers: list[str]) -> dict[str, Any]:
    """The points, the cross that is moved, and the ring around the datum that is shown."""
    from bokeh.models import ColumnDataSource, CustomJS, Range1d
    from bokeh.models.annotations import Span

    low, high = _frame(plane)
    figure = plot(
        aspect_ratio=1, sizing_mode="scale_width", name="map",
        x_range=Range1d(start=low[0], end=high[0]), y_range=Range1d(start=low[1], end=high[1]),
    )  # fmt: skip
    figure.ygrid.grid_line_color = None
    figure.xaxis.axis_label, figure.yaxis.axis_label = (plain_text(name) for name in plane.names)
    figure.yaxis.visible = len(plane.directions) == 2
    size = float(np.clip(160 / math.sqrt(len(places)), 6, 11))
    points: dict[str, Any] = {
        "x": places[:, 0],
        "y": places[:, 1],
        "colour": colours,
        "marker": markers,
    }
    # The outline tells pale colours from a white page, and black from a dark one.
    figure.scatter(
        "x", "y", source=ColumnDataSource(points), marker="marker", fill_color="colour", size=size,
        fill_alpha=0.85, line_color="#8A8A8A", line_width=0.7,
    )  # fmt: skip
    dotted: dict[str, Any] = {"location": 0, "line_width": 1, "line_dash": "dotted"}
    figure.add_layout(Span(dimension="height", name="cursor-x", **dotted))
    figure.add_layout(Span(dimension="width", name="cursor-y", **dotted))
    for name, marker, width in (("chosen", "circle", 18), ("cursor", "cross", 20)):
        source = ColumnDataSource({"x": [], "y": []}, name=name)
        figure.scatter(
            "x", "y", source=source, marker=marker, size=width, fill_color=None, line_width=2.5,
            line_color="#555555", tags=["ink"],
        )  # fmt: skip
    moved = CustomJS(code="ppvae.move(cb_obj.x, cb_obj.y)")
    for event in ("mousemove", "pan", "panstart"):
        figure.js_on_event(event, moved)
    # A finger that taps has not moved before.
    chosen = CustomJS(code="ppvae.move(cb_obj.x, cb_obj.y); ppvae.choose(cb_obj.x, cb_obj.y)")
    figure.js_on_event("tap", chosen)
    return item(figure, "map-plot")


def _readout(width: int, limits: tuple[float, float]) -> Plot:
    """Decoded and original values by column, for data that are no images."""
    from bokeh.models import ColumnDataSource, Range1d

    from ppvae import plots

    margin = 0.05 * (limits[1] - limits[0])
    figure = plot(
        height=260, sizing_mode="stretch_width", name="readout",
        x_range=Range1d(start=-0.5, end=width - 0.5),
        y_range=Range1d(start=limits[0] - margin, end=limits[1] + margin),
        y_axis_label="value, as modelled",
    )  # fmt: skip
    figure.xaxis.axis_label = plain_text("column index")
    figure.xaxis.ticker.min_interval = 1
    signs = (("original", plots.BLUE, "circle"), ("decoded", plots.VERMILLION, "x"))
    for name, colour, marker in signs:
        source = ColumnDataSource({"column": [], "value": []}, name=name)
        figure.line("column", "value", source=source, color=colour, line_width=1.5)
        if width <= 64:
            figure.scatter(
                "column", "value", source=source, color=colour, marker=marker, size=8, line_width=2
            )
    keys = (
        Key("decoded at the cross", plots.VERMILLION, "line"),
        Key("the datum in the ring", plots.BLUE, "line"),
    )
    alt = "Values decoded at the cross, and those of the datum in the ring, by column."
    return Plot("map-readout", item(figure, "map-readout"), alt, keys)
