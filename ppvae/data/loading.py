"""From a name to data: read, divide, scale, binarize."""

from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from ppvae.data.arrays import array_source
from ppvae.data.binarization import Binarization, binarization
from ppvae.data.containers import observed
from ppvae.data.dataset import Data
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.readers import is_path, named, read
from ppvae.data.rows import Rows
from ppvae.data.rules import (
    Values,
    as_fitted,
    check_finite,
    check_intensities,
    check_observed,
    infer_scaling,
)
from ppvae.data.scaling import Scaling
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.data.vision import simple
from ppvae.errors import InputError
from ppvae.settings import Binarize, Scale


def load(
    name: str | Path,
    *,
    data_dir: Path | None = None,
    label: str | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
    scaling: Scaling | None = None,
    scale: Scale | None = None,
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
        scaling: that of a fit, to read the values as it did.
        scale: ``"none"``: the values as they are; ``"unit"``: divided by the largest there may be;
            ``"standardize"``: minus the mean and divided by the deviation of the training rows, of
            each column of a table, of others as a whole. By default what the values ask for, see
            :class:`ppvae.data.Scaling`, and the likelihood, once there is one.

    Raises:
        InputError: where there is no such data or it cannot be used, with the reason.
    """
    _check_options(binarize, seed, scale)
    return _data(_name(name), read(name, data_dir, label), binarize, seed, scaling, scale)


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

    The test part of a known name, the same rows with the same noise as that of :func:`load`, and of
    a folder that has one; all rows of another path. ``"dynamic"`` noise is drawn once, by ``seed``.

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
    _check_options(binarize, seed)
    source = read(name, data_dir, label, labels)
    _check_shape(source, shape, f"`data={str(name)!r}`")
    if is_path(name) and named(name) is None and source.test is None:
        return _new(source, source.train, "new", scaling, binarize, seed)
    return _new(source, source.parts(seed)["test"], "test", scaling, binarize, seed)


def new_rows(
    x: Any,
    y: Any = None,
    mask: Any = None,
    *,
    scaling: Scaling,
    shape: tuple[int, ...],
    binarize: Binarize = "none",
    seed: int = 0,
    labels: tuple[str, ...] | None = None,
) -> Split:
    """Make rows of arrays for a model that is already fitted, read as its training data was.

    Args:
        x: as for :func:`from_arrays`; NaN: not observed.
        y: as for :func:`from_arrays`.
        mask: as for :func:`from_arrays`.
        scaling: as for :func:`load_new`.
        shape: as for :func:`load_new`.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.
        labels: as for :func:`load_new`.

    Raises:
        InputError: as for :func:`load_new`.
    """
    _check_options(binarize, seed)
    source = array_source(x, "x", y, observed(x, mask), labels)
    _check_shape(source, shape, "x")
    return _new(source, source.train, "new", scaling, binarize, seed)


def _check_shape(source: Source, shape: tuple[int, ...], where: str) -> None:
    if source.train.shape != tuple(shape):
        raise InputError(
            f"{where}: each datum has shape {source.train.shape}, and the model was fitted on "
            f"{tuple(shape)}: give data of that shape."
        )


def _new(
    source: Source, rows: Rows, part: str, scaling: Scaling, binarize: Binarize, seed: int
) -> Split:
    reading = as_fitted(scaling, {part: rows}, source.scaling, source.where)
    return _split(source, rows, part, binarize, seed, reading)


def from_arrays(
    x: Any,
    y: Any = None,
    mask: Any = None,
    *,
    name: str = "arrays",
    binarize: Binarize = "none",
    seed: int = 0,
    scale: Scale | None = None,
) -> Data:
    """Make data of arrays, by the rules for ``.npz`` files, divided 80/10/10.

    They may be arrays of NumPy, masked ones too, tensors of torch, sparse matrices of SciPy, or
    tables and columns of pandas; a mask, names, and the order of categories are kept.

    Args:
        x: (N, *shape); see :func:`ppvae.data.arrays.array_source` for images.
        y: (N,) labels, or (N, ...) floats, covariates.
        mask: the shape of ``x``, True where observed; elsewhere x may be NaN.
        name: what sentences call it.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.
        scale: as for :func:`load`.

    Raises:
        InputError: where the arrays cannot be used, with the reason.
    """
    _check_options(binarize, seed, scale)
    return _data(name, array_source(x, name, y, mask), binarize, seed, None, scale)


def as_split(
    x: Tensor,
    y: Tensor | None = None,
    mask: Tensor | None = None,
    size_factor: Tensor | None = None,
) -> Split:
    """Make one split of tensors as they are: neither scaled nor divided.

    Args:
        x: (N, *shape).
        y: (N, ...) labels or covariates.
        mask: bool, the shape of ``x``, True where observed.
        size_factor: (N,), above 0, what the mean of counts is multiplied by.
    """
    extras = {"y": y, "mask": mask, "size_factor": size_factor}
    known = {name: value for name, value in extras.items() if value is not None}
    return InMemorySplit.of(x, known, None, Binarization())


def suited(
    data: Data,
    values: Values | None,
    scale: Scale | None = None,
    *,
    may_binarize: bool = False,
) -> Data:
    """Return the data scaled as a likelihood of ``values`` asks; the data itself where it is.

    Args:
        data: read before the likelihood was known.
        values: what the likelihood is of; see :func:`ppvae.data.rules.infer_scaling`.
        scale: what somebody says, which goes before.
        may_binarize: whether intensities become zeros and ones where ``values`` are and the data
            are known to be made for it, as the digits are.

    Raises:
        InputError: as for :func:`load`.
    """
    source, binarize = data.source, data.binarize
    if source is None or (data.is_asked and scale is None):
        return data
    if may_binarize and values == "binary":
        binarize = source.binarize
    rescaled = _data(data.name, source, binarize, data.seed, None, scale, values)
    same = (rescaled.scaling, rescaled.binarize) == (data.scaling, data.binarize)
    return data if same and scale is None else rescaled


def scaled_as(data: Data, scaling: Scaling) -> Data:
    """Return the data as a fit reads it that scaled it by ``scaling``: ``run.scaling``.

    Raises:
        InputError: where it cannot have that unit.
    """
    if data.source is None:
        raise InputError(f"{data.name} was not read by load or from_arrays, and stays as it is.")
    return _data(data.name, data.source, data.binarize, data.seed, scaling)


def _data(
    name: str,
    source: Source,
    binarize: Binarize,
    seed: int,
    fitted: Scaling | None,
    scale: Scale | None = None,
    values: Values | None = None,
) -> Data:
    parts = source.parts(seed)
    note = None
    for part, rows in parts.items():
        check_observed(rows, part, source.where)
    if fitted is None:
        is_binarized = binarize != "none"
        scaling, note = infer_scaling(source, parts, values, scale, binarized=is_binarized)
    else:
        scaling = as_fitted(fitted, parts, source.scaling, source.where)
    splits = {
        part: _split(source, rows, part, binarize, seed, scaling) for part, rows in parts.items()
    }
    return Data(
        name,
        source.train.shape,
        **splits,
        scaling=scaling,
        binarize=binarize,
        labels=source.labels,
        notes=source.notes if note is None else (*source.notes, note),
        source=source,
        seed=seed,
        is_asked=scale is not None or fitted is not None,
    )


def _split(
    source: Source, rows: Rows, part: str, binarize: Binarize, seed: int, scaling: Scaling
) -> Split:
    check_finite(rows, scaling, part, source.where)
    if binarize != "none":
        check_intensities(rows, scaling, binarize, source.where)
    return rows.split(scaling, binarization(binarize, part, seed))


def _check_options(binarize: str, seed: int, scale: str | None = None) -> None:
    options = (
        ("scale", scale, (None, *get_args(Scale))),
        ("binarize", binarize, get_args(Binarize)),
    )
    for name, value, known in options:
        if value not in known:
            words = ", ".join(filter(None, known))
            raise InputError(f"`{name}={value!r}` is not known: give one of {words}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"the data's seed is {seed}: give a whole number from 0 to 2**63 - 1.")


def _name(name: str | Path) -> str:
    """Return what data is called in a sentence and in a folder's name."""
    known = named(name)
    if known is not None:
        return known
    return Path(name).expanduser().resolve().stem if is_path(name) else simple(str(name))
