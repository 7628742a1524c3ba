"""Data in memory, in any container of Python."""

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ppvae.data.annotated import annotated_source
from ppvae.data.arrays import array_source
from ppvae.data.containers import observed, plain
from ppvae.data.images import DEEP, GREY, decoded
from ppvae.data.options import AS_FOUND, UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.parts import MAY_LACK, joined
from ppvae.data.readers import check_options
from ppvae.data.rows import ArrayRows
from ppvae.data.source import Source
from ppvae.data.table import table_source
from ppvae.errors import InputError

_PARTS = ("train", "valid", "test")


def object_source(
    thing: Any, where: str, options: ReadOptions = AS_FOUND, schema: Schema = UNKNOWN_SCHEMA
) -> Source:
    """Return the content of an object as raw rows.

    Args:
        thing: an array, tensor or sparse matrix; a DataFrame; an AnnData; a `torch` data set; a
            pair (x, y); a mapping of ``x``, and optional ``y`` and ``mask``; or a triple (train,
            valid, test) of any of them.
        where: the name with which errors begin.
        options: the user's options for the columns of a table.
        schema: that of a fit, which these data have to match.

    Raises:
        InputError: for anything else, or data that cannot be used.
    """
    if isinstance(thing, tuple) and len(thing) == 3:
        return _divided(thing, where, options, schema)
    table, y = thing if _is_table_with_labels(thing) else (thing, None)
    if y is not None:
        return _labelled(table, y, where, options, schema)
    if is_table(table):
        reader = table_source if _is_frame(table) else annotated_source
        return reader(table, where, options, schema)
    check_options(where, options, is_table=False)
    x, y, mask = _arrays(thing, where)
    source = array_source(x, where, y, observed(x, mask), schema.labels)
    rows = source.train
    if mask is None and isinstance(rows, ArrayRows) and rows.mask is not None:
        note = f"{int((~rows.mask).sum()):,} missing entries are left out by a mask"
        source = replace(source, notes=(*source.notes, note))
    return source


def is_table(thing: Any) -> bool:
    """Return whether an object has columns with names: a DataFrame, or an AnnData."""
    return _is_frame(thing) or is_annotated(thing)


def _is_frame(thing: Any) -> bool:
    pandas = sys.modules.get("pandas")  # without an import there is no such object
    return pandas is not None and isinstance(thing, pandas.DataFrame)


def is_annotated(thing: Any) -> bool:
    """Return whether an object is an AnnData."""
    anndata = sys.modules.get("anndata")
    return anndata is not None and isinstance(thing, anndata.AnnData)


def _is_table_with_labels(thing: Any) -> bool:
    return isinstance(thing, tuple) and len(thing) == 2 and is_table(thing[0])


def _labelled(table: Any, y: Any, where: str, options: ReadOptions, schema: Schema) -> Source:
    """A table with its labels as one more column, as in scikit-learn."""
    import pandas as pd

    if options.label is not None:
        raise InputError(f"{where}: `label={options.label!r}` and y are both labels: give one.")
    frame = table if _is_frame(table) else table.obs
    name = "y"
    while name in frame:
        name += "_"
    if len(y) != len(frame):
        raise InputError(f"{where}: y has {len(y)} rows, and x has {len(frame)}.")
    if isinstance(y, pd.Series | pd.DataFrame) and not y.index.equals(frame.index):
        raise InputError(
            f"{where}: the rows of x and y have different names (their index): give "
            f"y.loc[x.index], or reset both by reset_index(drop=True)."
        )
    shape = tuple(np.shape(y))
    if math.prod(shape[1:]) != 1:
        raise InputError(
            f"{where}: y has shape {shape}, but labels of a table are one per row: put "
            f"further fields into columns, and name them in `covariates`."
        )
    if len(shape) > 1:
        y = y.iloc[:, 0] if isinstance(y, pd.DataFrame) else np.asarray(y).reshape(-1)
    column = y.array if isinstance(y, pd.Series) else y
    own, labelled = replace(options, label=name), frame.assign(**{name: column})
    if _is_frame(table):
        return table_source(labelled, where, own, schema)
    return annotated_source(table, where, own, schema, obs=labelled)


def _divided(
    parts: tuple[Any, Any, Any], where: str, options: ReadOptions, schema: Schema
) -> Source:
    """Three parts, of which the first defines columns, labels and covariates."""
    sources: list[Source] = []
    for part, thing in zip(_PARTS, parts, strict=True):
        sources.append(object_source(thing, f"{where}, {part}", options, schema))
        options, schema = replace(options, may_lack=MAY_LACK), sources[0].schema
    return joined(where, *sources)


def _arrays(thing: Any, where: str) -> tuple[Any, Any, Any]:
    """x, and y and mask if present."""
    if isinstance(thing, Mapping):
        unknown = sorted(map(str, thing.keys() - {"x", "y", "mask"}))
        if unknown or "x" not in thing:
            raise InputError(
                f"{where} is a mapping of {', '.join(map(str, thing))}: give x, and optionally y "
                f"and mask."
            )
        return thing["x"], thing.get("y"), thing.get("mask")
    if isinstance(thing, tuple):
        if len(thing) != 2:
            raise InputError(
                f"{where} is a tuple of {len(thing)}: give (x, y), or (train, valid, test)."
            )
        return (*thing, None)
    if isinstance(thing, TensorDataset):
        x, y, *more = (*thing.tensors, None)[: max(2, len(thing.tensors))]
        if more:
            raise InputError(
                f"{where} is a TensorDataset of {len(thing.tensors)} tensors: give x, or x and y."
            )
        return x, y, None
    if isinstance(thing, Dataset):
        return (*_stacked(thing, where), None)
    return thing, None, None


def _stacked(dataset: Dataset[Any], where: str) -> tuple[Any, Any]:
    """All items of a data set, stacked into x and y."""
    if isinstance(dataset, IterableDataset):
        items = list(dataset)
    else:
        count = getattr(dataset, "__len__", lambda: 0)()
        items = [dataset[place] for place in range(count)]
    if not items:
        raise InputError(f"{where} is a data set without items.")
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in items]
    if len({len(pair) for pair in pairs}) != 1 or len(pairs[0]) > 2:
        raise InputError(f"{where}: an item of the data set must be x, or (x, y).")
    try:
        x = np.stack(_items([pair[0] for pair in pairs], where, "x"))
        y = None if len(pairs[0]) == 1 else np.stack(_items([p[1] for p in pairs], where, "y"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{where}: the items of the data set differ in shape ({error})."
        ) from error
    return x, y


def _items(values: list[Any], where: str, what: str) -> list[Any]:
    """The items of a data set as arrays, in colour unless all pictures are grey."""
    pil = sys.modules.get("PIL.Image")
    if pil is None or not all(isinstance(value, pil.Image) for value in values):
        return [plain(value, where, what).values for value in values]
    if all(image.mode in DEEP for image in values):  # unchanged, as they have more than 8 bits
        return [np.asarray(image) for image in values]
    grey = all(image.mode in GREY for image in values)
    return [
        decoded(image, grey=grey, where=f"{where}: item {place}").numpy()
        for place, image in enumerate(values)
    ]
