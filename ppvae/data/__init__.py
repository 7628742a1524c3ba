"""Data: read by name or path, divided, scaled, binarized, and given out in batches."""

from ppvae.data.binarization import Binarize
from ppvae.data.dataset import Data
from ppvae.data.loading import as_split, from_arrays, load, load_new
from ppvae.data.scaling import Kind, Scaling
from ppvae.data.split import Batch, Feed, Split

__all__ = [
    "Batch",
    "Binarize",
    "Data",
    "Feed",
    "Kind",
    "Scaling",
    "Split",
    "as_split",
    "from_arrays",
    "load",
    "load_new",
]
