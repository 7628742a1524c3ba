"""The data: zeros and ones, binarized once and resident, the same in every worker."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .job import Job

__all__ = ["ROOT", "folder", "origin", "resident"]

ROOT = Path(__file__).parents[2]
_ROWS = 2560  # 20 batches of 128, and fewer where batches are larger
_HEADER = 16  # of an idx file of images


def folder() -> Path | None:
    """Where published data lies, if it does."""
    found = Path(os.environ.get("PPVAE_DATA") or ROOT.parent / "shared" / "data")
    return found if found.is_dir() else None


def _mnist() -> Path | None:
    """MNIST's training images, where they are at hand."""
    file = (folder() or Path()) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    return file if file.is_file() else None


def origin() -> str:
    """What the data is, for the reader of the table."""
    return "MNIST, binarized once" if _mnist() else "noise, Bernoulli(0.3)"


def resident(job: Job) -> NDArray[np.float32]:
    """All batches, ``(batches, batch, *data_shape)``."""
    batches = max(1, _ROWS // job.batch)
    shape = (batches * job.batch, 784)
    file = _mnist()
    if file is None:
        grey: NDArray[np.float64] | float = 0.3
    else:
        pixels = np.fromfile(file, np.uint8, shape[0] * shape[1], offset=_HEADER)
        grey = pixels.reshape(shape) / 255
    drawn = np.random.default_rng(0).random(shape) < grey
    return drawn.astype(np.float32).reshape(batches, job.batch, *job.data_shape)
