"""From a name to data: read, divide, scale, binarize."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from ppvae.data.arrays import array_source
from ppvae.data.binarization import Binarization, binarization
from ppvae.data.columns import ColumnKind
from ppvae.data.containers import observed
from ppvae.data.dataset import Data
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.objects import is_table, object_source
from ppvae.data.options import AS_FOUND, UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.parts import MAY_LACK, joined, own_part
from ppvae.data.readers import TABLES, is_path, named, read
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
from ppvae.data.size_factors import with_totals
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.data.vision import simple
from ppvae.errors import InputError
from ppvae.settings import Binarize, Scale


def load(
    data: Any,
    *,
    name: str | None = None,
    data_dir: Path | None = None,
    label: str | None = None,
    covariates: Sequence[str] = (),
    index: str | None = None,
    drop: Sequence[str] = (),
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
) -> Data:
    """Load data to fit to.

    Sets that are published with a test part keep it; a sixth of their training rows, drawn by
    ``seed``, becomes valid (1,345 of Omniglot's, as is customary). Other data is divided 80/10/10.

    Args:
        data: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, ``omniglot``,
            ``binarized-mnist``, a class of torchvision (``cifar10``), or a path: ``.csv``,
            ``.tsv``, ``.parquet``, ``.npy``, ``.npz`` (``x``, and ``y`` and ``mask`` where there
            are), ``.h5ad``, or a folder of images. A known name wins over a file; ``./mnist`` is a
            file. In Python also what `ppvae.data.objects.object_source` takes: an array, a
            DataFrame, an AnnData, a data set of torch, a pair (x, y), or a triple of the parts.
        name: what sentences call data in memory.
        data_dir: where published sets lie, as torchvision lays them out, and are downloaded to;
            by default ``PPVAE_DATA``, else ``~/.cache/ppvae``. Files present are only read.
        label: the column of a table that becomes ``y``; beside covariates it is for people alone.
        covariates: columns of a table that become ``y``: categories as one-hot vectors, numbers
            less their mean and over their deviation.
        index: the column of a table that names its rows.
        drop: columns of a table that are left out.
        kinds: what the values of columns are, ``real``, ``count`` or ``category``, where that is
            not what they look like.
        size_factor: what the mean of counts is multiplied by: ``total``, the sum of a row; a
            column; or ``none``. By default the total where counts of cells meet a likelihood of
            counts.
        split_column: the column of a table that says train, valid or test.
        size: height and width that the images of a folder are brought to.
        valid: a path of the rows that choose the best weights, or ``none`` to train on all but the
            test rows; figures of valid are then of training rows.
        test: a path of the rows that figures are reported of.
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
        schema: what another fit read in its data, ``run.schema``, so that codes of labels and
            categories mean the same.

    Raises:
        InputError: where there is no such data or it cannot be used, with the reason.
    """
    _check_options(binarize, seed, scale)
    options = ReadOptions(
        _text(label), tuple(map(str, covariates)), _text(index), tuple(map(str, drop)),
        {str(column): kind for column, kind in (kinds or {}).items()},
        _text(size_factor), _text(split_column), size,
    )  # fmt: skip
    called = _name(data) if isinstance(data, str | Path) else name or "data"
    source = _source(data, called, data_dir, options, schema)
    source = _with_parts(source, valid, test, data_dir, options)
    return _data(called, source, binarize, seed, scaling, scale, asked=size_factor)


def load_new(
    data: Any,
    *,
    scaling: Scaling,
    shape: tuple[int, ...],
    data_dir: Path | None = None,
    options: ReadOptions = AS_FOUND,
    schema: Schema = UNKNOWN_SCHEMA,
    names: tuple[str, ...] | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
) -> Split:
    """Load data for a model that is already fitted, as its training data was read.

    The test part of a known name, the same rows with the same noise as that of :func:`load`, and of
    a folder that has one; all rows of another path. ``"dynamic"`` noise is drawn once, by ``seed``.

    Args:
        data: as for :func:`load`.
        scaling: that of the data the model was fitted to.
        shape: that of one datum the model was fitted to.
        data_dir: as for :func:`load`.
        options: how a table is read.
        schema: what the fit read in its data, so that equal codes mean equal labels.
        names: those of the columns of the fit, where it was of an array that had them.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.

    Raises:
        InputError: as for :func:`load`, and where shape, unit or a label is not the fitted one.
    """
    _check_options(binarize, seed)
    is_named = isinstance(data, str | Path)
    if not has_columns(data):
        said = options.label if "label" not in options.may_lack else None
        factor = "total" if options.size_factor == "total" else None
        options = ReadOptions(label=said, size_factor=factor, size=options.size)
    source = _source(data, "data", data_dir, options, schema)
    where = f"`data={str(data)!r}`" if is_named else "data"
    _check_shape(source, shape, where)
    _check_names(source, names, where)
    if (not is_named or (is_path(data) and named(data) is None)) and source.test is None:
        return _new(source, source.train, "new", scaling, binarize, seed)
    return _new(source, source.parts(seed)["test"], "test", scaling, binarize, seed)


def new_rows(
    x: Any,
    y: Any = None,
    mask: Any = None,
    *,
    scaling: Scaling,
    shape: tuple[int, ...],
    options: ReadOptions = AS_FOUND,
    schema: Schema = UNKNOWN_SCHEMA,
    names: tuple[str, ...] | None = None,
    binarize: Binarize = "none",
    seed: int = 0,
) -> Split:
    """Make rows of arrays for a model that is already fitted, read as its training data was.

    Args:
        x: as for :func:`from_arrays`; NaN: not observed. A table, where one was fitted, has the
            columns of that, in any order.
        y: as for :func:`from_arrays`.
        mask: as for :func:`from_arrays`.
        scaling: as for :func:`load_new`.
        shape: as for :func:`load_new`.
        options: as for :func:`load_new`.
        schema: as for :func:`load_new`.
        names: as for :func:`load_new`.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.

    Raises:
        InputError: as for :func:`load_new`.
    """
    _check_options(binarize, seed)
    if is_table(x) and schema.columns is not None:
        if mask is not None:
            raise InputError("`mask` goes with an array: leave cells of a table empty instead.")
        own = options if y is None else replace(options, label=None)
        source = _source(x if y is None else (x, y), "x", None, own, schema)
    else:
        source = array_source(x, "x", y, observed(x, mask), schema.labels)
        if options.size_factor == "total":
            source = with_totals(source, schema.size_unit)
    _check_shape(source, shape, "x")
    _check_names(source, names, "x")
    return _new(source, source.train, "new", scaling, binarize, seed)


def _check_shape(source: Source, shape: tuple[int, ...], where: str) -> None:
    if source.train.shape != tuple(shape):
        raise InputError(
            f"{where}: each datum has shape {source.train.shape}, and the model was fitted on "
            f"{tuple(shape)}: give data of that shape."
        )


def _check_names(source: Source, names: tuple[str, ...] | None, where: str) -> None:
    """Refuse columns of other names, or in another order, where both have names."""
    own = source.train.names
    if names is None or own is None or own == names:
        return
    place = next(
        i for i, (name, fitted) in enumerate(zip(own, names, strict=True)) if name != fitted
    )
    raise InputError(
        f"{where}: column {place} (counted from 0) is {own[place]!r}, and the model was fitted on "
        f"{names[place]!r} there: give the columns in the order of the fit, "
        f"{', '.join(names[:30])}{', ...' if len(names) > 30 else ''}."
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
    if values == "counts":
        source = totalled(data).source or source
    rescaled = _data(data.name, source, binarize, data.seed, None, scale, values)
    if source is not data.source:
        return rescaled
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


def totalled(data: Data) -> Data:
    """Return data of cells with totals as their size factors, where nobody said what those are."""
    if data.source is None or data.size_factor != "auto":
        return data
    return replace(data, source=with_totals(data.source))


def _data(
    name: str,
    source: Source,
    binarize: Binarize,
    seed: int,
    fitted: Scaling | None,
    scale: Scale | None = None,
    values: Values | None = None,
    asked: str | None = None,
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
        size_factor=_size_factor(source, asked),
    )


def _size_factor(source: Source, asked: str | None) -> str:
    """What scales the mean of counts: as was asked, or ``"auto"`` until a likelihood decides."""
    if source.size_unit is None:
        return "auto" if asked is None and source.is_sequenced else "none"
    return asked or "total"


def has_columns(data: Any) -> bool:
    """Return whether data is a table, whose columns have names."""
    if isinstance(data, str | Path):
        return named(data) is None and Path(data).suffix.lower() in TABLES
    return is_table(data)


def _source(
    data: Any,
    name: str,
    data_dir: Path | None,
    options: ReadOptions,
    schema: Schema,
    parameter: str = "data",
) -> Source:
    """Read data by its name or path, or of an object."""
    if isinstance(data, str | Path):
        source = read(data, data_dir, options, schema, parameter)
    else:
        source = replace(object_source(data, name, options, schema), is_object=True)
    return with_totals(source, schema.size_unit) if options.size_factor == "total" else source


def _with_parts(
    source: Source,
    valid: str | Path | None,
    test: str | Path | None,
    data_dir: Path | None,
    options: ReadOptions,
) -> Source:
    """Return the source with rows of other files for its parts, or none that choose weights."""
    read_in = {}
    for part, where in (("valid", valid), ("test", test)):
        if where is None or where == "none":
            continue
        if not is_path(where):
            raise InputError(f"`{part}={str(where)!r}` is no file or folder; check the path.")
        if getattr(source, part) is not None:
            raise InputError(
                f"{source.where} has a {part} part, and `{part}={str(where)!r}` gives another: "
                f"leave one out."
            )
        of_part = replace(options, may_lack=MAY_LACK)
        further = _source(where, part, data_dir, of_part, source.schema, parameter=part)
        read_in[part] = own_part(further, part)
    if test == "none":
        raise InputError("`test='none'`: figures are reported of test rows; leave it out.")
    if read_in:
        source = joined(source.where, source, read_in.get("valid"), read_in.get("test"))
    if valid != "none":
        return source
    if source.valid is not None:
        raise InputError(
            f"`valid='none'` trains on all rows but those of the test part, and {source.where} has "
            f"a valid part of its own: leave it out."
        )
    note = "no rows are kept from training for valid: its figures are those of training rows"
    return replace(source, trains_on_valid=True, notes=(*source.notes, note))


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


def _text(column: object) -> str | None:
    """Return the name of a column as tables are read with it: numbers are names in a DataFrame."""
    return None if column is None else str(column)


def _name(name: str | Path) -> str:
    """Return what data is called in a sentence and in a folder's name."""
    known = named(name)
    if known is not None:
        return known
    return Path(name).expanduser().resolve().stem if is_path(name) else simple(str(name))
