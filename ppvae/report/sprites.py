"""Sprites: many small pictures in one."""

import io

import numpy as np
import torch
from torch import Tensor

from ppvae.errors import InputError
from ppvae.plots.arrays import Array, as_images
from ppvae.plots.mosaic import mosaic, paint
from ppvae.report.pictures import packed

TILE = 64
"""Maximum side of a picture in pixels; larger ones are shrunk."""

WIDEST = 20_000
"""Maximum number of columns of data that are not images."""


def shrunk(x: Tensor) -> Tensor:
    """Images shrunk by averaging to the size of a tile; other data unchanged."""
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


def sprite(images: Array, columns: int, limits: tuple[float, float], gap: int = 0) -> str:
    """Images ``(N, C, H, W)`` as one picture, row by row, with a clear ``gap`` between columns."""
    from PIL import Image

    painted = paint(images, limits)
    rows = -(-len(painted) // columns)
    tiles = np.ones((rows * columns, *painted.shape[1:]))
    tiles[: len(painted)] = painted
    sheet, _ = mosaic(tiles.reshape(rows, columns, *painted.shape[1:]), [0] * rows, gap)
    image = Image.fromarray((sheet * 255).round().astype(np.uint8))
    is_grey = images.shape[1] == 1 and bool(np.isfinite(images).all())
    image = image.convert(("L" if is_grey else "RGB") + "A" * bool(gap))
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    return packed(png.getvalue())
