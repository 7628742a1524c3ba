"""Images that are decoded one by one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppvae.data.split import Batch
from ppvae.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's modes with one 8-bit intensity per pixel, with or without transparency.
GREY = ("1", "L", "LA", "La")
# Modes of more than 8 bits, which Pillow would silently clip at 255.
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# The EXIF tag for the orientation of an image.
_ORIENTATION = 274


@dataclass(frozen=True)
class Images(ABC):
    """Labelled or unlabelled images of one shape, as bytes.

    Args:
        encoded: the source of each image.
        codes: a label code for each, or None.
        size: (height, width) of each.
        grey: whether all have one intensity per pixel; if not, all are read as RGB.
    """

    encoded: Sequence[Any]
    codes: Sequence[int] | None
    size: tuple[int, int]
    grey: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (1 if self.grey else 3, *self.size)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.encoded)

    @abstractmethod
    def pixels(self, row: int) -> Tensor:
        """Return one image, uint8 (channels, height, width).

        Raises:
            InputError: if it cannot be decoded or has another shape.
        """

    def read(self, row: int) -> tuple[Tensor, int | None]:
        """Return the `pixels` of one image, and its label code if labelled."""
        return self.pixels(row), None if self.codes is None else self.codes[row]

    def batch(self, rows: Tensor) -> Batch:
        """Return ``x``, uint8 (batch, *shape), and ``y``, int64 (batch,), if labelled."""
        x = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        codes: list[int] = []
        for place, row in enumerate(rows.tolist()):
            pixels, code = self.read(row)
            if pixels.shape != x.shape[1:]:
                raise InputError(
                    f"image {row} ({self.encoded[row]!s:.200}) decodes to {tuple(pixels.shape)}, "
                    f"but its header says {self.shape}: save it again."
                )
            x[place] = pixels
            if code is not None:
                codes.append(code)
        return {"x": x} | ({"y": torch.tensor(codes)} if self.codes is not None else {})


def upright_size(image: "Image") -> tuple[int, int]:
    """Return (height, width) of an image as viewers show it, from its header alone."""
    # The last four of the eight EXIF orientations swap rows and columns. For a TIFF Pillow gives
    # the size as shown; a PNG without EXIF in its header would be decoded in search of one.
    is_told = image.format not in ("TIFF", "PNG") or (
        image.format == "PNG" and "exif" in image.info
    )
    turned = is_told and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def decoded(
    image: "Image", *, grey: bool, where: str, size: tuple[int, int] | None = None
) -> Tensor:
    """Return ``image`` as uint8, (1, height, width) if ``grey`` and (3, height, width) if not.

    It is turned by its EXIF orientation, as in viewers. For a ``size`` (height, width), it is
    scaled until it covers that size, and cropped at its centre.

    Raises:
        InputError: for pixels of more than 8 bits or with transparency, or several pictures in one
            file.
    """
    import numpy as np
    from PIL import ImageOps

    if image.mode in DEEP:
        raise InputError(
            f"{where} holds more than 8 bits per pixel (mode {image.mode}): save it as an 8-bit "
            f"image, or all images as one .npy array."
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(
            f"{where} holds {pages} pictures (pages or frames), of which only one would be read: "
            f"save each as a separate file."
        )
    if image.format != "TIFF":  # Pillow turns these itself
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        lowest, highest = image.convert("RGBA").getchannel("A").getextrema()
        if lowest != highest:
            raise InputError(
                f"{where} is transparent in places, and its background is unknown: put all "
                f"images on a background (PIL's Image.alpha_composite), or save them without alpha."
            )
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        image = ImageOps.fit(image, (size[1], size[0]))
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.unsqueeze(0) if grey else pixels.permute(2, 0, 1)
