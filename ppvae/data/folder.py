"""A folder of images, whose sub-folders are labels or parts of the data."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import final, override

from torch import Tensor

from ppvae.data.downloads import parsing
from ppvae.data.image_rows import image_rows
from ppvae.data.images import GREY, Images, decoded, upright_size
from ppvae.data.labels import UNKNOWN
from ppvae.data.scaling import EIGHT_BIT
from ppvae.data.source import Source
from ppvae.errors import InputError

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip

# Usual names of the folders of parts.
_PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}
# Files of desktops, notebooks and storage, in addition to all names that begin with a dot.
_HIDDEN = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


@final
@dataclass(frozen=True)
class FolderImages(Images):
    """Image files, by their paths, of one size or resized to it."""

    is_resized: bool = False

    @override
    def pixels(self, row: int) -> Tensor:
        from PIL import Image

        path: Path = self.encoded[row]
        # Opened here: by its path, Pillow would map an uncompressed TIFF, and misread a turned one.
        with parsing(path, "an image"), path.open("rb") as file, Image.open(file) as image:
            size = self.size if self.is_resized else None
            return decoded(image, grey=self.grey, where=str(path), size=size)


def folder_source(
    path: Path,
    labels: tuple[str, ...] | None = None,
    size: tuple[int, int] | None = None,
    memory: float | None = None,
) -> Source:
    """Read the images below ``path``; the folder directly below it is an image's label.

    If the folders directly below are named train, and test or valid, they are the parts of the
    data, and the folders below them the labels. Hidden files are ignored.

    Args:
        path: the folder.
        labels: label names, whose order gives the codes of y.
        size: height and width to which all images are resized; `None`: all have one size.
        memory: GiB for decoded images; see `ppvae.data.image_rows.image_rows`.

    Raises:
        InputError: without images, with images of different sizes, with images both in the
            sub-folders and next to them, or with a file that is not an image.
    """
    paths, notes = images_in(path)
    folders = _part_folders(path, paths)
    by_part = {
        part: [file for file in paths if file.is_relative_to(folder)]
        for part, folder in folders.items()
    }
    names = _names(folders, by_part)
    if names is not None and labels is not None:
        names = labels
    own, grey = _size(list(chain(*by_part.values())), is_free=size is not None)
    rows = {
        part: image_rows(
            FolderImages(
                files, _codes(folders[part], files, names), size or own, grey, size is not None
            ),
            memory,
        )
        for part, files in by_part.items()
    }
    if size is not None:
        notes = (*notes, f"images scaled and cut to {size[0]} x {size[1]} pixels")
    if path not in folders.values():
        notes = (*notes, f"parts by the folders {', '.join(f.name for f in folders.values())}")
    return Source(
        str(path),
        rows["train"],
        rows.get("valid"),
        rows.get("test"),
        scaling=EIGHT_BIT,
        labels=names,
        notes=notes,
    )


def images_in(path: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return all images below ``path`` in order, and a note on other files.

    Raises:
        InputError: if there are none.
    """
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not any(
            part.startswith(".") or part in _HIDDEN for part in file.relative_to(path).parts
        )
    ]
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not images:
        raise InputError(f"{path} holds no images: none of its files is {', '.join(SUFFIXES)}.")
    others = Counter(file.suffix.lower() or file.name for file in files if file not in set(images))
    if not others:
        return images, ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    return images, (f"files of other types ignored ({kinds})",)


def _part_folders(path: Path, images: list[Path]) -> dict[str, Path]:
    """Return the folder of each part; without any, the folder itself as training rows."""
    tops = sorted({file.relative_to(path).parts[0] for file in images if file.parent != path})
    called = {top: part for top in tops for part, names in _PARTS.items() if top.lower() in names}
    if not called or (len(called) == 1 and len(tops) > 1):
        return {"train": path}  # a label may be named train, like car and bicycle
    if len(tops) == 1:
        return {"train": path / tops[0]}
    strange = [file.relative_to(path).parts[0] for file in images]
    strange = [top for top in strange if top not in called]
    if strange or "train" not in called.values() or len(set(called.values())) < len(called):
        raise InputError(
            f"{path} holds the folders {', '.join(tops)}, of which {', '.join(called)} are named "
            f"like parts of the data{f', unlike {strange[0]}' if strange else ''}: keep one "
            f"folder for each part (train, valid, test), with labels as folders below."
        )
    return {part: path / top for part in _PARTS for top in called if called[top] == part}


def _names(folders: dict[str, Path], found: dict[str, list[Path]]) -> tuple[str, ...] | None:
    """Return the labels of all parts, or None if there are none."""
    inner = {
        file.relative_to(folders[part]).parts[0]
        for part, files in found.items()
        for file in files
        if file.parent != folders[part]
    }
    return tuple(sorted(inner)) or None


def _codes(path: Path, paths: list[Path], names: tuple[str, ...] | None) -> list[int] | None:
    """Return the code of each image's folder in a part; -1 if the part has no folders."""
    if names is None:
        return None
    inner = [file.relative_to(path).parts for file in paths]
    loose = [parts[0] for parts in inner if len(parts) == 1]
    if len(loose) == len(paths):
        return [UNKNOWN] * len(paths)
    if loose:
        raise InputError(
            f"{path} holds images both in sub-folders, which are labels, and next to them "
            f"({loose[0]}): move them all to either place."
        )
    unknown = [parts[0] for parts in inner if parts[0] not in names]
    if unknown:
        raise InputError(
            f"{path} has the label {unknown[0]!r}, which the model was not fitted on: its labels "
            f"are {', '.join(names)}."
        )
    return [names.index(parts[0]) for parts in inner]


def _size(paths: list[Path], *, is_free: bool) -> tuple[tuple[int, int], bool]:
    """Return the first (height, width), and whether all are grey, from the files' headers.

    Unless ``is_free``, all images must have that size.
    """
    from PIL import Image

    sizes: list[tuple[int, int]] = []
    grey = True
    for path in paths:
        with parsing(path, "an image"), Image.open(path) as image:
            sizes.append(upright_size(image))
            mode = image.mode
        first, size = sizes[0], sizes[-1]
        if size != first and not is_free:
            raise InputError(
                f"images must all have one size: {paths[0]} has {first[0]} x {first[1]} pixels, "
                f"and {path} has {size[0]} x {size[1]}: give the height and width to which they "
                f"are resized, as `size={(min(first), min(first))}`."
            )
        # A mode of too many bits counts as grey here, and is refused when the image is decoded.
        grey = grey and (mode in GREY or mode.startswith(("I", "F")))
    return sizes[0], grey
