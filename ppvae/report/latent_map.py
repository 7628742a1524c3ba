"""Map of the latent plane: data as points, and the decoded picture at the pointer."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.diagnostics.shared.wording import decimals
from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images, as_table, value_range
from ppvae.programs.sites import dimension_names
from ppvae.report.columns import ShownColumns
from ppvae.report.latent_scatter import classes, frame, readout, scatter
from ppvae.report.page_data import PageData
from ppvae.report.pictures import drawn, read
from ppvae.report.plane import Plane, decoded, planes_of
from ppvae.report.sections import Picture, Plot, Section
from ppvae.report.sprites import shrunk, sprite

TITLE = "Latent map"

SIDE = 25
"""Maximum number of grid nodes along an axis: odd, so that one is in the middle."""

DECODED = 3_000_000
"""Maximum number of values of all decoded pictures together."""

ORIGINALS = 1_600_000
"""Maximum number of values of all data on the map together."""


def section(page: PageData) -> Section:
    """The map."""
    if not page.embedding.loc:
        raise InputError("no latent has one value per datum, so there is nothing to map")
    codes = page.embedding.joined().double()
    if not bool(codes.isfinite().all()):
        raise InputError("codes of the data are not finite: the fit has diverged")
    if not page.run.audit.supports:
        raise InputError("no site of the model observes x itself, so nothing is decoded")
    x = _seen(page)
    few = max(1, min(len(x), ORIGINALS // math.prod(x.shape[1:])))
    planes = planes_of(codes, _kl(page), _names(page))
    views = [_View(plane, plane.coordinates(codes)[:few].numpy()) for plane in planes]
    means = [_decoded(page, view, x.shape[1:], len(planes)) for view in views]
    look = classes(page, few)
    held: dict[str, Any] = {
        "labels": look.names, "places": look.places, "colours": look.colours,
        "markers": look.markers, "numbers": page.numbers[:few].tolist(),
        "names": page.names[:few], "source": page.source, "planes": [], "columns": [],
        "greys": None,
    }  # fmt: skip
    coloured = ", coloured by label" if look.keys else ""
    alt = f"Codes of {few:,} {page.data_name} data on the plane{coloured}."
    still = [_still(page, codes, coloured)]
    originals, beside = as_images(x[:few], 1), None
    scales = torch.cat(list(page.embedding.scale.values()), dim=-1)[:few]
    for view in views:
        held["planes"].append(_plane(view, scales))
    if originals is not None:
        every = [_images(each) for each in means]
        limits = value_range(originals, *every)
        held |= {"width": originals.shape[-1], "height": originals.shape[-2]}
        held["across"] = math.ceil(math.sqrt(few))
        for place, (view, images) in enumerate(zip(views, every, strict=True)):
            uri = sprite(images, view.columns, limits)
            if place:  # used by the script only
                held["planes"][place]["decoded"] = uri
            else:
                still.append(_decoded_picture(view, uri))
        # The data themselves are read by the script only.
        held["originals"] = sprite(originals, held["across"], limits)
        greys = page.greys
        if greys is not None:
            grey = _images(shrunk(greys[:few]))
            held["greys"] = sprite(grey, held["across"], (0.0, 1.0))
    else:
        tables = [as_table(each.numpy(), 1) for each in means]
        shown = ShownColumns.of(page.run)
        held |= {"width": tables[0].shape[1], "height": 0, "columns": shown.described()}
        held["originals"] = _floats(shown.values(as_table(x[:few], 1)))
        for plane, table in zip(held["planes"], tables, strict=True):
            plane["decoded"] = _floats(shown.values(table))
        if not shown.is_listed:
            beside = readout(shown, tables[0], as_table(x[:few], 1))
    return Section(
        "map", TITLE, tuple(_sentences(page, views[0], few)),
        plot=Plot("map-plot", scatter(views[0].plane, views[0].places, look), alt, look.keys),
        still=tuple(still), map=held, readout=beside,
    )  # fmt: skip


class _View:
    """A plane, and the codes of the data on it.

    Attributes:
        plane: the plane.
        places: ``(data, 2)``.
        reference: the datum nearest to its middle, which supplies the latents off the plane.
        columns: nodes of the grid across; 0 until it is decoded.
        rows: nodes up.
    """

    def __init__(self, plane: Plane, places: Array) -> None:
        self.plane, self.places = plane, places
        centre = np.array([plane.low, plane.high]).mean(0)
        self.reference = int(((places - centre) ** 2).sum(1).argmin())
        self.columns = self.rows = 0


def _decoded(page: PageData, view: _View, shape: Sequence[int], planes: int) -> Tensor:
    """Decoded pictures at the nodes of a view's grid."""
    view.columns, view.rows = _grid(shape, len(view.plane.directions), DECODED // planes)
    return shrunk(decoded(page, view.plane.nodes(view.columns, view.rows), view.reference))


def _plane(view: _View, scales: Tensor) -> dict[str, Any]:
    """Description of a plane for the script."""
    low, high = frame(view.plane)
    return {
        "low": view.plane.low, "high": view.plane.high, "frame": [low, high],
        "columns": view.columns, "rows": view.rows, "axes": list(view.plane.names),
        "label": view.plane.label, "sentence": view.plane.sentence,
        "x": view.places[:, 0].round(4).tolist(), "y": view.places[:, 1].round(4).tolist(),
        "ellipses": view.plane.ellipses(scales).numpy().round(4).tolist(),
    }  # fmt: skip


def _decoded_picture(view: _View, uri: str) -> Picture:
    plane = view.plane
    caption = f"Decoded plane: from left to right {_ends(plane, 0)}" + (
        f", from bottom to top {_ends(plane, 1)}." if plane.names[1] else "."
    )
    alt = f"The decoder's pictures at {view.columns} by {view.rows} points of the plane."
    return Picture(uri, alt, "map-decoded", caption)


def _images(x: Tensor) -> Array:
    images = as_images(x.numpy().astype(np.float64), 1)
    if images is None:
        raise InputError("decoded values do not have the shape of the data")
    return images


def _kl(page: PageData) -> Tensor | None:
    """KL of each latent dimension, if all of them have one."""
    of = page.terms.kl_by_dimension or {}
    if set(of) != set(page.embedding.loc):
        return None
    return torch.cat([of[site].mean(0).double() for site in page.embedding.loc])


def _names(page: PageData) -> list[str]:
    return dimension_names({site: loc.shape[1] for site, loc in page.embedding.loc.items()})


def _sentences(page: PageData, view: _View, few: int) -> Sequence[str]:
    low, high = frame(view.plane)
    outside = int(((view.places < low) | (view.places > high)).any(1).sum())
    where = f"Each point is the code of one of {few:,} {page.data_name} data"
    where += (
        f"; {outside:,} lie{'s' if outside == 1 else ''} outside the frame." if outside else "."
    )
    sentences = [f"{where} {view.plane.sentence}"]
    beside = set(page.run.audit.latents) - set(page.embedding.loc)
    beside |= {"y"} & set(page.run.pair.names("model"))
    if beside:
        sentences.append(
            f"The other inputs of the model ({', '.join(sorted(beside))}) are those of "
            f"{page.called(view.reference)} everywhere."
        )
    return sentences


def _ends(plane: Plane, axis: int) -> str:
    low, high = decimals(plane.low[axis]), decimals(plane.high[axis])
    return f"{plane.names[axis]} from {low} to {high}"


def _still(page: PageData, codes: Tensor, coloured: str) -> Picture:
    """Codes as a figure: the figure of the fit, if the page shows the same data."""
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
    """The data shown, shrunk as on the map; unobserved entries are NaN."""
    batch = page.rows.take(torch.arange(len(page.rows)))
    x = batch["x"].float()
    if "mask" in batch:
        x = x.masked_fill(~batch["mask"], math.nan)
    return np.asarray(shrunk(x).numpy(), dtype=np.float64)


def _grid(shape: Sequence[int], directions: int, most: int) -> tuple[int, int]:
    """Nodes across and up."""
    nodes = most // math.prod(shape)
    if directions == 1:
        return max(3, min(8 * SIDE + 1, nodes)), 1
    side = max(3, min(SIDE, math.isqrt(nodes)))
    side -= side % 2 == 0
    return side, side


def _floats(table: Array) -> str:
    return base64.b64encode(table.astype("<f4").tobytes()).decode()
