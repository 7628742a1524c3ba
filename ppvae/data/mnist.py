"""MNIST and sets published in its format: 60,000 and 10,000 images of 28 x 28.

The files are read here instead of by torchvision, which takes a second to import and does not check
files on disk; it is used for downloads only.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppvae.data.downloads import check_may_download, checked, obtaining
from ppvae.data.rows import ArrayRows
from ppvae.data.scaling import EIGHT_BIT
from ppvae.data.source import Source
from ppvae.errors import InputError

_DIGITS = tuple(str(digit) for digit in range(10))

# By data name: torchvision's class, which also names the folder, and the names of the labels.
SETS = {
    "mnist": ("MNIST", _DIGITS),
    "fashion-mnist": (
        "FashionMNIST",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": ("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
}
_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def mnist_source(name: str, folder: Path) -> Source:
    """Return the set ``name`` of ``SETS``, from ``folder`` or, where it lacks a file, the web.

    Raises:
        InputError: where a file is damaged, or missing and cannot be downloaded.
    """
    maker, labels = SETS[name]
    files = [f"{maker}/raw/{part}-{kind}" for part in ("train", "t10k") for kind in _KINDS]
    if not all((folder / file).is_file() for file in files):
        check_may_download(name, folder)
        with obtaining(name, folder):
            import torchvision.datasets

            getattr(torchvision.datasets, maker)(folder, download=True)
    train, test = (
        ArrayRows(_idx(folder, images).unsqueeze(1), _idx(folder, codes).to(torch.int64))
        for images, codes in (files[:2], files[2:])
    )
    return Source(name, train, test=test, scaling=EIGHT_BIT, labels=labels)


def _idx(folder: Path, file: str) -> Tensor:
    """Return an idx file of bytes: 0, 0, 8, number of axes, big-endian sizes, then the bytes."""
    content = checked(folder, file)
    axes = 3 if "idx3" in file else 1
    start = 4 + 4 * axes
    sizes = np.frombuffer(content[4:start].ljust(4 * axes, b"\0"), ">i4").tolist()
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) != start + int(np.prod(sizes)):
        raise InputError(
            f"{folder / file} is damaged: it holds {len(content)} bytes, which do not match its "
            f"header; move it away, and it is downloaded again."
        )
    # A copy, because the buffer is read-only and a tensor is not.
    return torch.from_numpy(np.frombuffer(content, np.uint8)[start:].reshape(sizes).copy())
