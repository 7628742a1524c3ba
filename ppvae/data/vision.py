"""Other image sets of torchvision, by the names of their classes."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, override

import numpy as np
import torch
from torch import Tensor

from ppvae.data.downloads import ReadOnlyFolder, check_may_download, obtaining
from ppvae.data.image_rows import image_rows
from ppvae.data.images import GREY, Images, decoded, upright_size
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.scaling import EIGHT_BIT
from ppvae.data.source import Source
from ppvae.data.tensors import channels_first
from ppvae.errors import InputError

# They need more than a folder, are read by this package itself, or are not published data.
_EXCEPT = ("DatasetFolder", "FakeData", "ImageFolder", "Omniglot", "VisionDataset")

# The arguments for training and test rows of torchvision's sets, in the order tried.
_Options = dict[str, bool | str]
_TRAIN: list[_Options] = [{"train": True}, {"split": "train"}, {"split": "trainval"}, {}]
_TEST: list[_Options] = [{"train": False}, {"split": "test"}, {"split": "val"}]


def simple(name: str) -> str:
    """Return ``name`` in the form for comparisons: lower case, without hyphens and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def makers() -> dict[str, Callable[..., Any]]:
    """Return the classes of torchvision's sets that need only a folder, by name."""
    import torchvision.datasets

    by_name: dict[str, Callable[..., Any]] = {"emnist": _emnist}
    for name in torchvision.datasets.__all__:
        maker = getattr(torchvision.datasets, name)
        parameters = list(inspect.signature(maker).parameters.values())[1:]
        needy = any(
            p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            for p in parameters
        )
        if name not in _EXCEPT and not needy:
            by_name.setdefault(simple(name), maker)
    return by_name


def check_reader_is_safe(name: str, data_dir: Path | None) -> None:
    """Refuse data named by a config, not the user, if reading could run code or write files.

    The readers of some sets unpickle their files (CIFAR's batches, LSUN's cache), and any set of
    torchvision may unpack archives.

    Args:
        name: the data, as named in the config.
        data_dir: their folder.

    Raises:
        InputError: for a set whose reader unpickles, and for any in a `ReadOnlyFolder`.
    """
    maker = makers().get(simple(name))
    if maker is None:
        return
    if unpickles(maker):
        reason = "unpickles its files, which can run any code"
    elif isinstance(data_dir, ReadOnlyFolder):
        reason = f"may unpack and write files in {data_dir}, which you did not name"
    else:
        return
    raise InputError(
        f"a config names where the data {name} is, and torchvision's reader of it {reason}: if you "
        f"trust the files, give `trust=['torchvision']`, or name data and folder yourself, by "
        f"`data={name!r}, data_dir='FOLDER'`."
    )


def unpickles(maker: Callable[..., Any]) -> bool:
    """Return whether the reader of a set loads pickles."""
    return "pickle" in vars(sys.modules[maker.__module__])


def vision_source(name: str, maker: Callable[..., Any], folder: Path) -> Source:
    """Read the set that ``maker`` makes from ``folder``, downloading what is missing.

    Raises:
        InputError: if it cannot be had, or does not consist of images of one shape.
    """
    with obtaining(name, folder):
        train = _first(maker, folder, _TRAIN)
        test = _first(maker, folder, _TEST)
    if train is None:
        raise InputError(f"`data={name!r}`: torchvision has no training rows of it; name another.")
    sets = [train] if test is None else [train, test]
    names = _names(train, [_codes(part) for part in sets])
    rows = [_rows(name, part, names) for part in sets]
    return Source(
        name, rows[0], test=None if test is None else rows[1], scaling=EIGHT_BIT, labels=names
    )


@final
@dataclass(frozen=True)
class VisionImages(Images):
    """A torchvision set whose images are decoded one by one; the first defines shape and colour."""

    name: str

    @override
    def pixels(self, row: int) -> Tensor:
        image = _image(self.name, self.encoded, row)
        if upright_size(image) != self.size:
            raise InputError(
                f"`data={self.name!r}`: images must all have one size, and row 0 has "
                f"{self.size[0]} x {self.size[1]} pixels, row {row} {image.height} x "
                f"{image.width}: resize them, and give their folder."
            )
        return decoded(image, grey=self.grey, where=f"{self.name}, row {row},")


def _emnist(folder: Path, **options: Any) -> Any:
    """Make EMNIST's balanced division; its own ``split`` argument names the division."""
    from torchvision.datasets import EMNIST

    if "train" not in options:
        raise ValueError("EMNIST is divided by train=")
    dataset = EMNIST(folder, split="balanced", **options)
    # Published with rows and columns swapped.
    dataset.data = dataset.data.transpose(1, 2)
    return dataset


def _first(maker: Callable[..., Any], folder: Path, choices: Sequence[_Options]) -> Any | None:
    """Make the set with the first of ``choices`` that it supports, or None."""
    parameters = inspect.signature(maker).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    divided = not {"train", "split"}.isdisjoint(parameters) or anything
    for choice in choices:
        if not choice and divided:
            continue
        if not anything and not set(choice) <= set(parameters):
            continue
        try:
            return _made(maker, folder, choice, may_load=anything or "download" in parameters)
        except InputError:
            raise
        except (TypeError, ValueError):
            continue  # this set has other names of parts
    return None


def _made(maker: Callable[..., Any], folder: Path, choice: _Options, *, may_load: bool) -> Any:
    """Make the set from existing files, and download only if they do not suffice."""
    if not may_load:
        return maker(folder, **choice)
    try:
        return maker(folder, download=False, **choice)
    except (RuntimeError, OSError):
        check_may_download(str(getattr(maker, "__name__", maker)), folder)
        folder.mkdir(parents=True, exist_ok=True)
        return maker(folder, download=True, **choice)


def _codes(dataset: Any) -> list[int] | None:
    """Return one whole number per row, from the attribute that has them, or None."""
    for name in ("targets", "labels", "_labels", "y"):
        values = getattr(dataset, name, None)
        if values is None:
            continue
        codes = np.asarray(values)
        if codes.shape == (len(dataset),) and codes.dtype.kind in "iu":
            return [int(code) for code in codes]
    return None


def _names(train: Any, codes: list[list[int] | None]) -> tuple[str, ...] | None:
    """Return a name for each code from 0, or None if a part has no labels."""
    tops = [max(part) for part in codes if part]
    if len(tops) < len(codes) or any(min(part) < 0 for part in codes if part):
        return None
    classes = getattr(train, "classes", None) or ()
    count = max(max(tops) + 1, len(classes))
    return tuple(str(classes[code]) if code < len(classes) else str(code) for code in range(count))


def _rows(name: str, dataset: Any, names: tuple[str, ...] | None) -> Rows:
    codes = _codes(dataset) if names is not None else None
    data = getattr(dataset, "data", None)
    if isinstance(data, np.ndarray | Tensor) and len(data) == len(dataset):
        x = torch.as_tensor(data)
        if x.dtype == torch.uint8 and x.ndim in (3, 4):
            if x.ndim == 3:
                x = x.unsqueeze(1)
            elif not channels_first(tuple(x.shape))[0]:
                x = x.permute(0, 3, 1, 2)
            return ArrayRows(x.contiguous(), None if codes is None else torch.tensor(codes))
    if len(dataset) == 0:
        raise InputError(f"`data={name!r}`: torchvision's set is empty in that folder.")
    first = _image(name, dataset, 0)
    size = upright_size(first)
    return image_rows(VisionImages(dataset, codes, size, first.mode in GREY, name))


def _image(name: str, dataset: Any, row: int) -> Any:
    from PIL import Image

    try:
        item = dataset[row]
    except Exception as error:  # a decoder may raise anything for a damaged file
        raise InputError(f"`data={name!r}`: row {row} cannot be read: {error}.") from error
    image = item[0] if isinstance(item, tuple) else item
    if not isinstance(image, Image.Image):
        raise InputError(
            f"`data={name!r}`: its rows are {type(image).__name__}, not images; name a set "
            f"of images."
        )
    return image
