"""Scikit-learn's handwritten digits: 1,797 images of 8 x 8 counts from 0 to 16, on any machine."""

from pathlib import Path

import torch

from ppvae.data.rows import ArrayRows
from ppvae.data.scaling import COUNTS
from ppvae.data.source import Source

NAME = "digits"


def digits_source(_folder: Path) -> Source:
    """Return the digits, (1, 8, 8), labelled 0 to 9: each pixel counts the dark of 4 x 4 bits.

    They come with a dependency, and lie in no data directory.
    """
    from sklearn.datasets import load_digits

    images, codes = load_digits(return_X_y=True)
    x = torch.from_numpy(images).to(torch.int64).view(-1, 1, 8, 8)
    return Source(
        NAME,
        ArrayRows(x, torch.from_numpy(codes).to(torch.int64)),
        scaling=COUNTS,
        top=16.0,
        labels=tuple(str(digit) for digit in range(10)),
        binarize="dynamic",
    )
