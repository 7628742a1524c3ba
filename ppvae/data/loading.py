"""From a name to data: read, divide, scale, binarize."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.arrays import array_source
from ppvae.data.binarization import Binarize, Keep, binarization
from ppvae.data.catalogue import is_path, named, read
from ppvae.data.dataset import Data
from ppvae.data.resident import ResidentSplit
from ppvae.data.rows import Rows
from ppvae.data.rules import as_fitted, demand_finite, demand_intensities, demand_observed, natural
from ppvae.data.scaling import AS_IS, Scaling
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.data.vision import simple
from ppvae.errors import InputError

Array = NDArray[Any] | Tensor


def load(
    name: str | Path,
    *,
    data_dir: Path | None = None,
    label: str | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
    scaling: Scaling | None = None,
) -> Data:
    """Load data to fit to.

    Sets that are published with a test part keep it; a sixth of their training rows, drawn by
    ``seed``, becomes valid (1,345 of Omniglot's, as is customary). Other data is divided 80/10/10.

    Args:
        name: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, ``omniglot``,
            ``binarized-mnist``, a class of torchvision (``cifar10``), or a path: ``.npy``,
            ``.npz`` (``x``, and ``y`` and ``mask`` where there are), ``.csv``, or a folder of
            images. A known name wins over a file; ``./mnist`` is a file.
        data_dir: where published sets lie, as torchvision lays them out, and are downloaded to;
            by default ``PPVAE_DATA``, else ``~/.cache/ppvae``. Files present are only read.
        label: the column of a ``.csv`` that becomes ``y``.
        binarize: ``"dynamic"``: Bernoulli draws of the intensities, anew in each training batch,
            once elsewhere; ``"static"``: once everywhere; ``"threshold"``: 1 from 0.5 on. Zeros
            and ones, as those of ``binarized-mnist``, stay what they are under each.
        seed: of the division and of all noise that is drawn once. It is not the seed of a fit, so
            that fits with different seeds are measured on the same test rows.
        scaling: how to read the values; by default what they ask for, see
            :class:`ppvae.data.Scaling`.

    Raises:
        InputError: where there is no such data or it cannot be used, with the reason.

    """
    _demand_options(binarize, seed)
    return _data(_name(name), read(name, data_dir, label), binarize, seed, scaling)


def load_new(
    name: str | Path,
    *,
    scaling: Scaling,
    shape: tuple[int, ...],
    data_dir: Path | None = None,
    label: str | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
    labels: tuple[str, ...] | None = None,
) -> Split:
    """Load data for a model that is already fitted, as its training data was read.

    The test part of a known name, the same rows with the same noise as that of :func:`load`; all
    rows of a path. ``"dynamic"`` noise is drawn once, by ``seed``.

    Args:
        name: as for :func:`load`.
        scaling: that of the data the model was fitted to.
        shape: that of one datum the model was fitted to.
        data_dir: as for :func:`load`.
        label: as for :func:`load`.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.
        labels: the fitted names of the label codes, so that equal codes mean equal labels.

    Raises:
        InputError: as for :func:`load`, and where shape, unit or a label is not the fitted one.

    """
    _demand_options(binarize, seed)
    source = read(name, data_dir, label, labels)
    if source.train.shape != tuple(shape):
        raise InputError(
            f"--data {name}: each datum has shape {source.train.shape}, and the model was fitted "
            f"on {tuple(shape)}: give data of that shape."
        )
    if is_path(name) and named(name) is None:
        rows, part = source.train, "new"
    else:
        rows, part = source.parts(seed)["test"], "test"
    reading = as_fitted(scaling, {part: rows}, source.scaling, source.where)
    return _split(source, rows, part, binarize, seed, reading)


def from_arrays(
    x: Array,
    y: Array | None = None,
    mask: Array | None = None,
    *,
    name: str = "arrays",
    binarize: Binarize = "none",
    seed: int = 0,
) -> Data:
    """Make data of arrays or tensors, by the rules for ``.npz`` files, divided 80/10/10.

    Args:
        x: (N, *shape); see :func:`ppvae.data.arrays.array_source` for images.
        y: (N,) labels, or (N, ...) floats, covariates.
        mask: the shape of ``x``, True where observed; elsewhere x may be NaN.
        name: what sentences call it.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.

    Raises:
        InputError: where the arrays cannot be used, with the reason.

    """
    _demand_options(binarize, seed)
    source = array_source(
        _numpy(x),
        name,
        None if y is None else _numpy(y),
        None if mask is None else _numpy(mask),
    )
    return _data(name, source, binarize, seed, None)


def as_split(x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Split:
    """Make one split of tensors as they are: neither scaled nor divided.

    Args:
        x: (N, *shape).
        y: (N, ...) labels or covariates.
        mask: bool, the shape of ``x``, True where observed.

    """
    return ResidentSplit.of(x, y, mask, AS_IS, Keep())


def _data(name: str, source: Source, binarize: Binarize, seed: int, fitted: Scaling | None) -> Data:
    parts = source.parts(seed)
    for part, rows in parts.items():
        demand_observed(rows, part, source.where)
    if fitted is None:
        scaling = source.scaling or natural(parts, source.where)
        if binarize != "none" and source.top is not None:
            scaling = Scaling("counts", scale=(source.top,))
    else:
        scaling = as_fitted(fitted, parts, source.scaling, source.where)
    splits = {
        part: _split(source, rows, part, binarize, seed, scaling) for part, rows in parts.items()
    }
    return Data(
        name, source.train.shape, **splits, scaling=scaling, binarize=binarize, labels=source.labels
    )


def _split(
    source: Source, rows: Rows, part: str, binarize: Binarize, seed: int, scaling: Scaling
) -> Split:
    demand_finite(rows, scaling, part, source.where)
    if binarize != "none":
        demand_intensities(rows, scaling, binarize, source.where)
    return rows.split(scaling, binarization(binarize, part, seed))


def _demand_options(binarize: str, seed: int) -> None:
    if binarize not in get_args(Binarize):
        raise InputError(
            f"--binarize {binarize} is not known: give one of {', '.join(get_args(Binarize))}."
        )
    if not 0 <= seed < 2**63:
        raise InputError(f"the data's seed is {seed}: give a whole number from 0 to 2**63 - 1.")


def _name(name: str | Path) -> str:
    """Return what data is called in a sentence and in a folder's name."""
    known = named(name)
    if known is not None:
        return known
    return Path(name).expanduser().resolve().stem if is_path(name) else simple(str(name))


def _numpy(values: Array) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
