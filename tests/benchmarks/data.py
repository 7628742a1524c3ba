"""Data of the benchmarks: binarized once, held in memory, the same in every worker."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .job import Job

__all__ = [
    "ROOT",
    "all_images",
    "folder",
    "held_out_images",
    "origin",
    "resident",
    "training_images",
]

ROOT = Path(__file__).parents[2]
_ROWS = 2560  # 20 batches of 128, fewer of larger batches
_HEADER = 16  # bytes of an idx file of images


def folder() -> Path | None:
    """The folder of published data, if it exists."""
    found = Path(os.environ.get("PPVAE_DATA") or ROOT.parent / "shared" / "data")
    return found if found.is_dir() else None


def _mnist(part: str = "train") -> Path | None:
    """The file of MNIST's images, if it exists."""
    file = (folder() or Path()) / "MNIST" / "raw" / f"{part}-images-idx3-ubyte"
    return file if file.is_file() else None


def all_images() -> NDArray[np.uint8]:
    """All 70,000 grey images, or as many of noise, ``(rows, 28, 28)``."""
    files = [file for part in ("train", "t10k") if (file := _mnist(part))]
    if not files:
        return np.random.default_rng(0).integers(0, 256, (70_000, 28, 28), np.uint8)
    pixels = [np.fromfile(file, np.uint8, offset=_HEADER) for file in files]
    return np.concatenate(pixels).reshape(-1, 28, 28)


def origin() -> str:
    """Description of the data, for the table."""
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


def training_images(job: Job) -> NDArray[np.float32]:
    """Intensities of the training images of a fit, ``(rows, 784)``."""
    return np.asarray(_part(job, "train"), np.float32) / np.float32(255)


def held_out_images(job: Job) -> NDArray[np.float32]:
    """Binarized held-out images of a fit, ``(rows, 784)``."""
    return np.asarray(_part(job, "held_out"), np.float32)


def _part(job: Job, name: str) -> NDArray[np.uint8]:
    with np.load(job.images) as images:
        part: NDArray[np.uint8] = images[name]
        return part
