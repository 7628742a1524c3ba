"""Omniglot at 28 x 28, as Burda, Grosse and Salakhutdinov (2016) published it with the IWAE."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data.downloads import download, obtaining, parsing
from ppvae.data.rows import ArrayRows
from ppvae.data.scaling import AS_IS
from ppvae.data.source import Source
from ppvae.errors import InputError

URL = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat"
FILE = "Omniglot28/chardata.mat"
# No checksum is published; these sizes are.
ROWS = {"data": 24_345, "testdata": 8_070}
# Tomczak and Welling (2018) and later papers hold out this many training rows.
VALID = 1_345


def omniglot_source(folder: Path) -> Source:
    """Return intensities in [0, 1], (1, 28, 28) and upright, labelled by alphabet, 1 to 50.

    Raises:
        InputError: if the file is not the published one, or missing and cannot be downloaded.
    """
    path = folder / FILE
    if not path.is_file():
        with obtaining("omniglot", folder):
            download(URL, folder, FILE)
    with parsing(path, "Omniglot's chardata.mat"):
        from scipy.io import loadmat

        content = loadmat(path)
    train, test = (
        ArrayRows(_upright(content, key, path), _alphabet(content, label, path, ROWS[key]))
        for key, label in (("data", "target"), ("testdata", "testtarget"))
    )
    labels = tuple(str(alphabet) for alphabet in range(1, 51))
    return Source("omniglot", train, test=test, held_out=VALID, scaling=AS_IS, labels=labels)


def _array(content: dict[str, Any], key: str, path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    array = content.get(key)
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "biuf":
        actual = array.shape if isinstance(array, np.ndarray) else "nothing"
        raise InputError(
            f"{path} is not the published file: {key} is {actual}, and {shape} was expected; move "
            f"it away, and it is downloaded again."
        )
    return array


def _upright(content: dict[str, Any], key: str, path: Path) -> torch.Tensor:
    """Return images (N, 1, 28, 28): in the file each is a column, in column-major order."""
    columns = _array(content, key, path, (28 * 28, ROWS[key]))
    if not (columns >= 0).all() or not (columns <= 1).all():
        raise InputError(f"{path} is not the published file: {key} has values outside of [0, 1].")
    images = columns.T.reshape(-1, 1, 28, 28).swapaxes(2, 3)
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))


def _alphabet(content: dict[str, Any], key: str, path: Path, rows: int) -> torch.Tensor:
    """Return the codes (N,) that the file holds one-hot, (50, N)."""
    return torch.from_numpy(_array(content, key, path, (50, rows)).argmax(0).astype(np.int64))
