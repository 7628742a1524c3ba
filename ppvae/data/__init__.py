"""Data sets: read by name or path, split, scaled, binarized, and read in batches."""

from ppvae.data.dataset import Data
from ppvae.data.loading import as_split, from_arrays, load
from ppvae.data.new_data import load_new, new_rows
from ppvae.data.rescaling import scaled_as, suited
from ppvae.data.rules import Values
from ppvae.data.scaling import Kind, Scaling
from ppvae.data.split import Batch, Feed, Split
from ppvae.settings import Binarize, Scale

__all__ = [
    "Batch", "Binarize", "Data", "Feed", "Kind", "Scale", "Scaling", "Split", "Values",
    "as_split", "from_arrays", "load", "load_new", "new_rows", "scaled_as", "suited",
]  # fmt: skip
