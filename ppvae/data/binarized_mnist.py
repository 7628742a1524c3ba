"""MNIST as binarized once by Larochelle: 50,000, 10,000 and 10,000 rows of 784 zeros and ones."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppvae.data.downloads import checked, download, obtaining
from ppvae.data.rows import ArrayRows
from ppvae.data.scaling import AS_IS
from ppvae.data.source import Source
from ppvae.errors import InputError

URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
_PIXELS = 28 * 28


def binarized_mnist_source(folder: Path) -> Source:
    """Return the fixed binarization, (1, 28, 28) without labels, downloading what is missing.

    Raises:
        InputError: where a file is damaged, or missing and cannot be downloaded.
    """
    train, valid, test = (ArrayRows(_part(folder, part)) for part in ("train", "valid", "test"))
    return Source("binarized-mnist", train, valid, test, scaling=AS_IS)


def _part(folder: Path, part: str) -> Tensor:
    relative = f"BinarizedMNIST/binarized_mnist_{part}.amat"
    if not (folder / relative).is_file():
        with obtaining("binarized-mnist", folder):
            download(f"{URL}/{Path(relative).name}", folder, relative)
    pixels = zeros_and_ones(checked(folder, relative), folder / relative)
    return pixels.reshape(-1, 1, 28, 28)


def zeros_and_ones(content: bytes, path: Path) -> Tensor:
    """Parse lines of 784 digits 0 or 1, one space between them, to uint8 (rows, 784).

    Each digit has one byte and one byte after it, so the text is an array already: a strided view
    of it is read some hundred times faster than its lines.

    Raises:
        InputError: for any other text.
    """
    if not content or len(content) % (2 * _PIXELS):
        raise InputError(f"{path} is damaged: its {len(content)} bytes are not whole rows.")
    pairs = np.frombuffer(content, np.uint8).reshape(-1, _PIXELS, 2)
    digits = pairs[:, :, 0] - ord("0")
    if (
        digits.max() > 1
        or (pairs[:, :-1, 1] != ord(" ")).any()
        or (pairs[:, -1, 1] != ord("\n")).any()
    ):
        raise InputError(f"{path} is damaged: it holds more than zeros, ones and spaces.")
    return torch.from_numpy(digits)
