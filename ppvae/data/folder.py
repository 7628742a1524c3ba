"""A folder of images as data; sub-folders are labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import final, override

from torch import Tensor

from ppvae.data.files import parsing
from ppvae.data.image_rows import image_rows
from ppvae.data.images import GREY, Images, decoded
from ppvae.data.scaling import EIGHT_BIT
from ppvae.data.source import Source
from ppvae.errors import InputError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@final
@dataclass(frozen=True)
class FolderImages(Images):
    """Image files of one size, by their paths."""

    @override
    def pixels(self, row: int) -> Tensor:
        from PIL import Image

        path: Path = self.encoded[row]
        with parsing(path, "an image"), Image.open(path) as image:
            return decoded(image, grey=self.grey, where=str(path))


def folder_source(path: Path, labels: tuple[str, ...] | None = None) -> Source:
    """Read the images below ``path``; the folder right below it that one lies in is its label.

    Raises:
        InputError: without images, with images of several sizes, with images both beside and in
            the sub-folders, or with a file that is not an image.

    """
    paths = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{path} holds no images: none of its files is {', '.join(SUFFIXES)}.")
    codes, names = _codes(path, paths, labels)
    size, grey = _size(paths)
    images = FolderImages(paths, codes, size, grey)
    return Source(str(path), image_rows(images), scaling=EIGHT_BIT, labels=names)


def _codes(
    path: Path, paths: list[Path], labels: tuple[str, ...] | None
) -> tuple[list[int] | None, tuple[str, ...] | None]:
    inner = [file.relative_to(path).parts for file in paths]
    loose = [parts[0] for parts in inner if len(parts) == 1]
    if len(loose) == len(paths):
        return None, None
    if loose:
        raise InputError(
            f"{path} holds images both in sub-folders, which are labels, and beside them "
            f"({loose[0]}): move them all to either place."
        )
    names = tuple(sorted({parts[0] for parts in inner})) if labels is None else labels
    unknown = [parts[0] for parts in inner if parts[0] not in names]
    if unknown:
        raise InputError(
            f"{path} has the label {unknown[0]!r}, which the model was not fitted on: its labels "
            f"are {', '.join(names)}."
        )
    return [names.index(parts[0]) for parts in inner], names


def _size(paths: list[Path]) -> tuple[tuple[int, int], bool]:
    """Return the one (height, width), and whether all are grey, from the files' headers."""
    from PIL import Image

    sizes: list[tuple[int, int]] = []
    grey = True
    for path in paths:
        with parsing(path, "an image"), Image.open(path) as image:
            sizes.append((image.height, image.width))
            mode = image.mode
        first, size = sizes[0], sizes[-1]
        if size != first:
            raise InputError(
                f"images must all have one size: {paths[0]} has {first[0]} x {first[1]} pixels, "
                f"and {path} has {size[0]} x {size[1]}."
            )
        # Too deep a mode counts as grey here, and is refused where the image is decoded.
        grey = grey and (mode in GREY or mode.startswith(("I", "F")))
    return sizes[0], grey
