"""Loading of data for a fit: by name, by path, or from memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ppvae.data.arrays import array_source
from ppvae.data.binarization import Binarization
from ppvae.data.columns import ColumnKind
from ppvae.data.dataset import Data
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.opening import as_text, called, check_choices, source_of, with_parts
from ppvae.data.options import UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.rescaling import data_of
from ppvae.data.scaling import Scaling
from ppvae.data.split import Split
from ppvae.settings import Binarize, Scale
from ppvae.settings.values import Names


def load(
    data: Any,
    *,
    name: str | None = None,
    data_dir: Path | None = None,
    label: str | None = None,
    covariates: str | Sequence[str] = (),
    index: str | None = None,
    drop: str | Sequence[str] = (),
    kinds: Mapping[str, ColumnKind] | None = None,
    size_factor: str | None = None,
    split_column: str | None = None,
    size: tuple[int, int] | None = None,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
    scaling: Scaling | None = None,
    scale: Scale | None = None,
    schema: Schema = UNKNOWN_SCHEMA,
    data_memory: float | None = None,
) -> Data:
    """Load data for a fit.

    Sets published with a test part keep it; a sixth of their training rows, drawn by
    ``seed``, becomes valid (1,345 of Omniglot's, as is customary). Other data are split 80/10/10.

    Args:
        data: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, ``omniglot``,
            ``binarized-mnist``, a class of torchvision (``cifar10``), or a path: ``.csv``,
            ``.tsv``, ``.parquet``, ``.npy``, ``.npz`` (``x``, and optional ``y`` and ``mask``),
            ``.h5ad``, or a folder of images. A known name takes precedence over a file; ``./mnist``
            is a file. In Python also the objects of `ppvae.data.objects.object_source`: an array, a
            DataFrame, an AnnData, a data set of torch, a pair (x, y), or a triple of the parts.
        name: the name of data in memory in sentences.
        data_dir: the directory of published sets, in torchvision's layout, to which missing ones
            are downloaded; by default ``PPVAE_DATA``, else ``~/.cache/ppvae``. Existing files are
            only read.
        label: the column of a table that becomes ``y``; with covariates it is only shown.
        covariates: columns of a table that become ``y``: categories as one-hot vectors, numbers
            standardized.
        index: the column of a table that names its rows.
        drop: columns of a table to leave out.
        kinds: the kinds of columns, ``real``, ``count`` or ``category``, if their values do not
            show them.
        size_factor: the factor of the mean of counts: ``total``, the sum of a row; a column; or
            ``none``. By default the total for counts of cells with a likelihood of counts.
        split_column: the column of a table with the words train, valid or test.
        size: height and width to which the images of a folder are resized.
        valid: a path of the rows that select the best weights, or ``none`` to train on all but the
            test rows; figures of valid are then of training rows.
        test: a path of the rows for reported figures.
        binarize: ``"dynamic"``: Bernoulli draws of the intensities, anew in each training batch,
            once elsewhere; ``"static"``: once everywhere; ``"threshold"``: 1 from 0.5 on. Zeros
            and ones, such as ``binarized-mnist``, are unchanged by each.
        seed: of the split and of all fixed noise. It is not the seed of a fit, so that fits with
            different seeds are measured on the same test rows.
        scaling: that of another fit, to read the values in the same way.
        scale: ``"none"``: unchanged values; ``"unit"``: divided by the largest possible one;
            ``"standardize"``: minus the mean and divided by the deviation of the training rows, per
            column of a table, else as a whole. By default it depends on the values, see
            :class:`ppvae.data.Scaling`, and on the likelihood, once there is one.
        schema: ``run.schema`` of another fit, so that codes of labels and categories mean the same.
        data_memory: GiB of memory for the rows of a file: larger data stay on disk, and batches are
            read from there; by default a quarter of the free memory. A file of up to 64 MiB is
            read whole, unless this is less.

    Raises:
        InputError: if there are no such data or they cannot be used, with the reason.
    """
    check_choices(binarize, seed, scale)
    options = ReadOptions(
        as_text(label), _names(covariates), as_text(index), _names(drop),
        {str(column): kind for column, kind in (kinds or {}).items()},
        as_text(size_factor), as_text(split_column), size,
        data_memory,
    )  # fmt: skip
    known_as = called(data) if isinstance(data, str | Path) else name or "data"
    source = source_of(data, known_as, data_dir, options, schema)
    source = with_parts(source, valid, test, data_dir, options)
    return data_of(known_as, source, binarize, seed, scaling, scale, asked=size_factor)


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns, also as one word, as in a fit."""
    return tuple(map(str, Names().read(columns)))


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
    """Make data from arrays, by the rules for ``.npz`` files, split 80/10/10.

    They may be arrays of NumPy, masked ones too, tensors of torch, sparse matrices of SciPy, or
    tables and columns of pandas; a mask, names, and the order of categories are kept.

    Args:
        x: ``(N, *shape)``; images are ``(N, height, width)``, or with channels first or last.
        y: (N,) labels, or (N, ...) floats, covariates.
        mask: the shape of ``x``, True where observed; elsewhere x may be NaN.
        name: their name in sentences.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.
        scale: as for :func:`load`.

    Raises:
        InputError: where the arrays cannot be used, with the reason.
    """
    check_choices(binarize, seed, scale)
    return data_of(name, array_source(x, name, y, mask), binarize, seed, None, scale)


def as_split(
    x: Tensor,
    y: Tensor | None = None,
    mask: Tensor | None = None,
    size_factor: Tensor | None = None,
) -> Split:
    """Make one split of tensors, neither scaled nor divided.

    Args:
        x: ``(N, *shape)``.
        y: (N, ...) labels or covariates.
        mask: bool, the shape of ``x``, True where observed.
        size_factor: (N,), above 0, the factor of the mean of counts.
    """
    extras = {"y": y, "mask": mask, "size_factor": size_factor}
    known = {name: value for name, value in extras.items() if value is not None}
    return InMemorySplit.of(x, known, None, Binarization())
