"""The map of the latent plane: data as points, and the decoder's picture wherever one points."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.diagnostics.shared.wording import decimals
from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images, as_table, value_range
from ppvae.plots.mosaic import mosaic, paint
from ppvae.report.latent_scatter import classes, frame, readout, scatter
from ppvae.report.page_data import PageData
from ppvae.report.pictures import drawn, packed, read
from ppvae.report.plane import Plane, decoded, plane_of
from ppvae.report.sections import Picture, Plot, Section

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


def section(page: PageData) -> Section:
    """The map."""
    if not page.embedding.loc:
        raise InputError("no latent has a place for each datum, so that there is nothing to map")
    codes = page.embedding.joined().double()
    if not bool(codes.isfinite().all()):
        raise InputError("codes of the data are not finite: the fit has diverged")
    if not page.run.audit.supports:
        raise InputError("no site of the model observes x itself, so that nothing is decoded")
    plane = plane_of(codes)
    x = _seen(page)
    few = max(1, min(len(x), ORIGINALS // math.prod(x.shape[1:])))
    places = plane.coordinates(codes)[:few].numpy()
    centre = np.array([plane.low, plane.high]).mean(0)
    reference = int(((places - centre) ** 2).sum(1).argmin())
    columns, rows = _grid(x.shape[1:], len(plane.directions))
    means = _shrunk(decoded(page, plane.nodes(columns, rows), reference))
    colours, markers, names, keys = classes(page, few)
    held: dict[str, Any] = {
        "low": plane.low, "high": plane.high, "columns": columns, "rows": rows,
        "axes": list(plane.names),
        "x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "labels": names,
        "numbers": page.numbers[:few].tolist(), "data": page.data_name,
    }  # fmt: skip
    coloured = ", coloured by label" if keys else ""
    alt = f"Codes of {few:,} {page.data_name} data on the plane{coloured}."
    still = [_still(page, codes, coloured)]
    images, originals = as_images(means.numpy().astype(np.float64), 1), as_images(x[:few], 1)
    beside = None
    if images is not None and originals is not None:
        limits = value_range(images, originals)
        held |= {"width": images.shape[-1], "height": images.shape[-2]}
        held["across"] = math.ceil(math.sqrt(few))
        caption = f"What is decoded on the plane: from left to right {_ends(plane, 0)}" + (
            f", from bottom to top {_ends(plane, 1)}." if plane.names[1] else "."
        )
        decoded_alt = f"The decoder's pictures at {columns} by {rows} points of the plane."
        still.append(Picture(_sprite(images, columns, limits), decoded_alt, "map-decoded", caption))
        # The data themselves are read by the script alone.
        held["originals"] = _sprite(originals, held["across"], limits)
    else:
        table, data = as_table(means.numpy(), 1), as_table(x[:few], 1)
        held |= {"width": table.shape[1], "height": 0}
        held["decoded"], held["originals"] = _floats(table), _floats(data)
        beside = readout(table.shape[1], value_range(table, data))
    return Section(
        "map", TITLE, tuple(_sentences(page, plane, few, places, reference)),
        plot=Plot("map-plot", scatter(plane, places, colours, markers), alt, keys),
        still=tuple(still), map=held, readout=beside,
    )  # fmt: skip


def _sentences(
    page: PageData, plane: Plane, few: int, places: Array, reference: int
) -> Sequence[str]:
    low, high = frame(plane)
    outside = int(((places < low) | (places > high)).any(1).sum())
    where = f"Each point is the code of one of {few:,} {page.data_name} data"
    where += (
        f"; {outside:,} lie{'s' if outside == 1 else ''} outside the frame." if outside else "."
    )
    sentences = [f"{where} {plane.sentence}"]
    beside = set(page.run.audit.latents) - set(page.embedding.loc)
    beside |= {"y"} & set(page.run.pair.names("model"))
    if beside:
        sentences.append(
            f"What the model takes beside the codes ({', '.join(sorted(beside))}) is everywhere "
            f"that of row {int(page.numbers[reference]):,} (counted from 0)."
        )
    return sentences


def _ends(plane: Plane, axis: int) -> str:
    low, high = decimals(plane.low[axis]), decimals(plane.high[axis])
    return f"{plane.names[axis]} from {low} to {high}"


def _still(page: PageData, codes: Tensor, coloured: str) -> Picture:
    """The codes as a figure: that of the fit, where the page is of the same data."""
    from ppvae import plots

    # The fit's figure has more data than the map.
    where = "in the latent space" if codes.shape[1] <= 2 else "on two principal components"
    alt = f"Codes of {page.data_name} data {where}{coloured}."
    file = page.run_figure("latent") if page.data_name == "test" else None
    if file is not None:
        return read(file, alt)
    if page.labels is None:
        return drawn(plots.latent(codes.numpy()), alt)
    labels, names = page.labels.double(), page.run.label_names
    if names is not None:
        labels = labels.masked_fill(labels < 0, math.nan)
    return drawn(plots.latent(codes.numpy(), labels.numpy(), names), alt)


def _seen(page: PageData) -> Array:
    """The data shown, as small as the map has them, unobserved entries not numbers."""
    batch = page.rows.take(torch.arange(len(page.rows)))
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


def _grid(shape: Sequence[int], directions: int) -> tuple[int, int]:
    """Nodes across and up."""
    nodes = DECODED // math.prod(shape)
    if directions == 1:
        return max(3, min(8 * SIDE + 1, nodes)), 1
    side = max(3, min(SIDE, math.isqrt(nodes)))
    side -= side % 2 == 0
    return side, side


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
