"""Scikit-learn's handwritten digits: 1,797 images of 8 x 8 counts from 0 to 16."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppvae.data.rows import ArrayRows
from ppvae.data.scaling import COUNTS
from ppvae.data.source import Source

NAME = "digits"


def digits_source(_folder: Path) -> Source:
    """Return the digits, (1, 8, 8), labelled 0 to 9: each pixel counts the dark ones of 4 x 4.

    They come with scikit-learn, and need no data directory.
    """
    table = _table()
    x = table[:, :-1].view(-1, 1, 8, 8)
    return Source(
        NAME,
        ArrayRows(x, table[:, -1]),
        scaling=COUNTS,
        top=16.0,
        labels=tuple(str(digit) for digit in range(10)),
        binarize="dynamic",
    )


def _table() -> Tensor:
    """The pixels of each image, and its label, as integers."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():  # scikit-learn itself takes a second to import
            return torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.int64))
    from sklearn.datasets import load_digits

    return torch.from_numpy(np.column_stack(load_digits(return_X_y=True)).astype(np.int64))
