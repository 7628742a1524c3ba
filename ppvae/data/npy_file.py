"""A .npy file: one array."""

from pathlib import Path

import numpy as np

from ppvae.data.arrays import array_source
from ppvae.data.files import parsing
from ppvae.data.source import Source
from ppvae.errors import InputError


def npy_source(path: Path) -> Source:
    """Read the array at ``path``; a pickle never is.

    Raises:
        InputError: where the file is damaged, or holds something else.

    """
    with parsing(path, "a .npy file"), path.open("rb") as file:
        # Without allow_pickle, so that opening a stranger's file runs none of its code.
        array = np.load(file, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is a .npz file by its content: give it that suffix.")
        return array_source(array, str(path))
