"""Joining of the parts of one data set, read separately."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ppvae.data.disk_rows import DiskRows
from ppvae.data.image_rows import ImageRows
from ppvae.data.labels import UNKNOWN
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.source import Source
from ppvae.errors import InputError

MAY_LACK = frozenset({"label", "index"})
"""Columns that the rows of a further part may lack."""


def joined(where: str, train: Source, valid: Source | None, test: Source | None) -> Source:
    """Return data whose parts were read separately; missing labels of a part are unknown.

    Raises:
        InputError: if their shapes differ, or only some have covariates.
    """
    further = {"valid": valid, "test": test}
    there = [train, *(source for source in further.values() if source is not None)]
    for one, other in pairwise(there):
        if one.train.shape != other.train.shape:
            raise InputError(
                f"{one.where} has data of shape {one.train.shape}, and {other.where} of "
                f"{other.train.shape}: give parts of one shape."
            )
    rows: dict[str, Rows | None] = {
        part: getattr(train, part) if source is None else _labelled_as(train, source)
        for part, source in further.items()
    }
    notes = dict.fromkeys(note for source in there for note in source.notes)
    unread = [s.where for s in there if _y_of(train) is None and _y_of(s) is not None]
    notes |= dict.fromkeys(
        f"y of {name} is left out, as training rows have none" for name in unread
    )
    return replace(
        train,
        where=where,
        valid=rows["valid"],
        test=rows["test"],
        notes=tuple(notes),
        files=None,
    )


def own_part(source: Source, part: str) -> Source:
    """Return data as one part: if they are divided themselves, only their part of that name.

    Raises:
        InputError: if they are divided, and have no such part.
    """
    published = source.published()
    if len(published) == 1:
        return source
    if part not in published:
        raise InputError(
            f"`{part}={source.where!r}` is divided into {' and '.join(published)}, without a part "
            f"{part}: give a file of the {part} rows alone."
        )
    return replace(source, train=published[part], valid=None, test=None)


def _labelled_as(train: Source, other: Source) -> Rows:
    """Return the rows of a further part with y as in train: unknown labels, or none."""
    rows, y, own = other.train, _y_of(train), _y_of(other)
    if y is not None and own is None and y.is_floating_point():
        raise InputError(
            f"{other.where} has no y, and {train.where} has covariates: give them for all parts."
        )
    unknown = torch.full((len(rows),), UNKNOWN)
    if isinstance(rows, ArrayRows | DiskRows):
        if train.train.annotations.label is not None and rows.annotations.label is None:
            rows = replace(rows, known=replace(rows.annotations, label=unknown))
        return rows if _is_alike(y, own) else replace(rows, y=None if y is None else unknown)
    assert isinstance(rows, ImageRows)
    codes = None if y is None else [UNKNOWN] * len(rows.images)
    return rows if _is_alike(y, own) else replace(rows, images=replace(rows.images, codes=codes))


def _is_alike(y: Tensor | None, own: Tensor | None) -> bool:
    return (y is None) == (own is None)


def _y_of(source: Source) -> Tensor | None:
    return source.train.beside.get("y")
