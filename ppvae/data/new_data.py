"""Data for a fitted model, read in the same way as its training data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ppvae.data.arrays import array_source
from ppvae.data.containers import observed
from ppvae.data.objects import is_table
from ppvae.data.opening import check_choices, has_columns, source_of
from ppvae.data.options import AS_FOUND, UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.readers import named
from ppvae.data.rescaling import split_of
from ppvae.data.rows import Rows
from ppvae.data.rules import as_fitted
from ppvae.data.scaling import Scaling
from ppvae.data.size_factors import with_totals
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.errors import InputError
from ppvae.settings import Binarize
from ppvae.settings.paths import is_path


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
    """Load data for a fitted model, read in the same way as its training data.

    For a known name, or a folder with a test part, these are the test rows with the same noise as
    in :func:`load`; for another path all rows. ``"dynamic"`` noise is drawn once, by ``seed``.

    Args:
        data: as for :func:`load`.
        scaling: that of the data the model was fitted to.
        shape: that of one datum the model was fitted to.
        data_dir: as for :func:`load`.
        options: how a table is read.
        schema: that of the fit, so that equal codes mean equal labels.
        names: names of the columns of the fit, if it was of an array with names.
        binarize: as for :func:`load`.
        seed: as for :func:`load`.

    Raises:
        InputError: as for :func:`load`, and if shape, unit or a label differs from the fit.
    """
    check_choices(binarize, seed)
    is_named = isinstance(data, str | Path)
    if not has_columns(data):
        said = options.label if "label" not in options.may_lack else None
        factor = "total" if options.size_factor == "total" else None
        options = ReadOptions(
            label=said, size_factor=factor, size=options.size, memory=options.memory
        )
    source = source_of(data, "data", data_dir, options, schema)
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
    """Make rows from arrays for a fitted model, read in the same way as its training data.

    Args:
        x: as for :func:`from_arrays`; NaN: not observed. For a fit of a table, a table with the
            same columns, in any order.
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
    check_choices(binarize, seed)
    if is_table(x) and schema.columns is not None:
        if mask is not None:
            raise InputError("`mask` goes with an array: leave cells of a table empty instead.")
        own = options if y is None else replace(options, label=None)
        source = source_of(x if y is None else (x, y), "x", None, own, schema)
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
    """Refuse columns of other names, or in another order, if both have names."""
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
    return split_of(source, rows, part, binarize, seed, reading)
