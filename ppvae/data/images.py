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

# Modes of Pillow that hold one 8-bit intensity a pixel, with or without transparency.
GREY = ("1", "L", "LA", "La")
# Modes of more than 8 bits; Pillow would cut them off at 255 without a word.
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# The tag of EXIF that says how an image is turned.
_ORIENTATION = 274


@dataclass(frozen=True)
class Images(ABC):
    """Labelled or unlabelled images, all of one shape, as bytes.

    Args:
        encoded: what each is decoded from.
        codes: a label code for each, or None.
        size: (height, width) of each.
        grey: whether all hold one intensity a pixel; if not, all are read as RGB.
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
            InputError: where it cannot be decoded or has another shape.
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
                    f"and its header said {self.shape}: save it anew."
                )
            x[place] = pixels
            if code is not None:
                codes.append(code)
        return {"x": x} | ({"y": torch.tensor(codes)} if self.codes is not None else {})


def upright_size(image: "Image") -> tuple[int, int]:
    """Return (height, width) of an image as viewers show it, from its header alone."""
    # Of the eight orientations of EXIF the last four exchange rows and columns. Of a TIFF Pillow
    # gives the size as shown; a PNG whose header has no EXIF it would decode in search of one.
    is_told = image.format not in ("TIFF", "PNG") or (
        image.format == "PNG" and "exif" in image.info
    )
    turned = is_told and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def decoded(
    image: "Image", *, grey: bool, where: str, size: tuple[int, int] | None = None
) -> Tensor:
    """Return ``image`` as uint8, (1, height, width) if ``grey`` and (3, height, width) if not.

    It is turned as its EXIF orientation says, as viewers do. To bring it to a ``size`` (height,
    width), it is scaled until it covers that, and cut about its middle.

    Raises:
        InputError: where a pixel holds more than 8 bits or lets a background through, or there are
            several pictures.
    """
    import numpy as np
    from PIL import ImageOps

    if image.mode in DEEP:
        raise InputError(
            f"{where} holds more than 8 bits a pixel (mode {image.mode}): save it as an 8-bit "
            f"image, or all images as one .npy array."
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(
            f"{where} holds {pages} pictures (pages or frames), of which one would be read: save "
            f"each as a file of its own."
        )
    if image.format != "TIFF":  # which Pillow turns itself
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        lowest, highest = image.convert("RGBA").getchannel("A").getextrema()
        if lowest != highest:
            raise InputError(
                f"{where} is transparent in places, and nothing says what is behind: put all "
                f"images on a background (PIL's Image.alpha_composite), or save them without alpha."
            )
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        image = ImageOps.fit(image, (size[1], size[0]))
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.unsqueeze(0) if grey else pixels.permute(2, 0, 1)
