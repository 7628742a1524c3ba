"""Figures as pictures of the page, and the section of reconstructions and samples."""

import base64
import io
import re
from pathlib import Path
from typing import Any

from ppvae.report.page_data import PageData
from ppvae.report.sections import Picture, Section
from ppvae.run.pictured import columns_of
from ppvae.run.store import ReadError, read_bytes

TITLE = "Reconstructions and samples"

_EMBEDDED = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
"""A PNG in an SVG: the pixels of a photograph."""

LARGE = 200_000
"""Size in bytes from which a PNG is packed as WebP, so that the page stays under 5 MB."""

MOST = 2**24
"""Maximum number of pixels of a picture to shrink: a larger one may be a decompression bomb."""


def section(page: PageData) -> Section:
    """Reconstructions and samples."""
    mean = f"the mean of {page.likelihood}"
    described = {
        "reconstructions": f"Test data, each with {mean} at its code.",
        "samples": f"Draws from the model: {mean} for each of many z drawn from the prior.",
    }
    if columns_of(page.run).names:
        described = {
            "reconstructions": f"Each column of the test data against {mean} at the codes.",
            "samples": "Each column of the test data next to draws from the model.",
            "pairs": "Pairs of columns: test data over draws from the model.",
        }
    described["manifold"] = "The decoder's output over the plane of the two latents."
    pictures, absent = [], []
    for name, alt in described.items():
        file = page.run_figure(name)
        if file is None and name in ("pairs", "manifold"):
            continue  # not every run has them
        if file is None:
            absent.append(f"The run has no figures/{name}.png, so {name} is not shown.")
        else:
            pictures.append(read(file, alt))
    return Section("data", TITLE, tuple(absent), pictures=tuple(pictures))


def read(file: Path, alt: str, name: str = "") -> Picture:
    """A PNG or an SVG of the run, embedded as an image, so that no script in it runs.

    Raises:
        InputError: if it is neither, or damaged.
    """
    from PIL import Image

    png = read_bytes(file)
    if file.suffix == ".svg":
        if not png.lstrip().startswith(b"<?xml") or not png.rstrip().endswith(b"</svg>"):
            raise ReadError(f"{file} is not an SVG, or is damaged")
        try:
            return Picture(_packed_svg(png), alt, name)
        except (OSError, SyntaxError, ValueError) as error:  # as Pillow has it
            raise ReadError(f"{file} has a picture that is not a PNG, or is damaged") from error
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow has it
        raise ReadError(f"{file} is not a PNG, or is damaged") from error
    return Picture(packed(png), alt, name)


def thumbnail(file: Path, alt: str, side: int = 420) -> Picture:
    """A PNG of the run, shrunk.

    Raises:
        InputError: if it is not a PNG, is damaged, or is larger than any figure of this package.
    """
    from PIL import Image

    small = io.BytesIO()
    try:
        with Image.open(io.BytesIO(read_bytes(file)), formats=["PNG"]) as image:
            if image.width * image.height > MOST:
                raise ValueError
            shown = image.convert("RGB")
        shown.thumbnail((side, side))
        shown.quantize(64).save(small, "PNG", optimize=True)
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow has it
        raise ReadError(f"{file} is not a PNG of a figure, or is damaged") from error
    return Picture(packed(small.getvalue()), alt)


def drawn(figure: Any, alt: str, name: str = "") -> Picture:
    """A figure of `ppvae.plots`."""
    from ppvae import plots

    return Picture(_packed_svg(plots.svg(figure)), alt, name)


def packed(png: bytes, most: int = LARGE) -> str:
    """A PNG as a data URI; one of more than ``most`` bytes as WebP, which can be transparent."""
    from PIL import Image

    if len(png) <= most:
        return encoded(png, "png")
    small = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.convert("RGBA").save(small, "WEBP", quality=85)
    return encoded(small.getvalue(), "webp")


def _packed_svg(svg: bytes) -> str:
    """An SVG as a data URI; the pictures in a large one are packed."""
    if len(svg) > LARGE:
        svg = _EMBEDDED.sub(lambda found: packed(base64.b64decode(found[1]), 0).encode(), svg)
    return encoded(svg, "svg+xml")


def encoded(content: bytes, kind: str) -> str:
    """A picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
