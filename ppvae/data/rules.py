"""Rules for the scaling of raw values, and for reading new values like those of a fit."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ppvae.data.disk_rows import DiskRows
from ppvae.data.image_rows import ImageRows
from ppvae.data.ranges import value_range
from ppvae.data.rows import ArrayRows, Rows
from ppvae.data.scaling import AS_IS, COUNTS, EIGHT_BIT, Scaling
from ppvae.data.source import Source
from ppvae.errors import InputError
from ppvae.settings import Scale

LARGEST = 1e18
"""The largest size of a number whose square, times the size of a datum, is finite in float32."""

Values = Literal["binary", "counts", "unit", "positive", "real", "columns"]
"""The values of a likelihood: zeros and ones, whole numbers, values in [0, 1], values above 0, all
real numbers, or those of each column of a table."""

_OVERRIDE = "`scale='none'` leaves them alone"


def infer_scaling(
    source: Source,
    parts: dict[str, Rows],
    values: Values | None,
    scale: Scale | None,
    *,
    binarized: bool,
) -> tuple[Scaling, str | None]:
    """Return the scaling of raw values, by their type, their range and the likelihood; and a note.

    Zeros and ones are unchanged, whatever their type. Whole numbers from 0 are counts, but bytes of
    images are intensities unless the likelihood is of counts. With a likelihood of real numbers, a
    table is standardized by its training rows, also if its numbers are whole, unless all are in
    [0, 1]; whole-numbered images are divided by 255, if that is their range, else standardized as a
    whole; and other images of floats are unchanged. The note states a scaling that may surprise.

    Args:
        source: the origin of the parts.
        parts: raw rows by name.
        values: the values of the likelihood; None: unknown.
        scale: the user's choice, or None.
        binarized: whether intensities will become zeros and ones.

    Raises:
        InputError: if a column is too wide to be standardized, or ``scale`` makes no sense.
    """
    kinds = [column.kind for column in source.columns or ()]
    is_real = [kind == "real" for kind in kinds]
    is_by_column = bool(kinds) and (values == "columns" or (not values and _categories(source)))
    if not is_by_column:
        _check_no_categories(source, values)
    if scale is not None:
        return _asked(source, parts, scale, is_real if is_by_column else None), None
    if source.scaling is not None:
        if binarized and source.top is not None:
            return Scaling("counts", scale=(source.top,)), None
        return source.scaling, None
    raw, train, where = value_range(parts), parts["train"], source.where
    if is_by_column:
        return _standard(train, where, is_real), None
    target: Values | None = "unit" if binarized else values
    if raw.is_binary:
        return AS_IS, None
    if raw.is_bytes and not (raw.is_table and target != "unit"):
        return (COUNTS if target == "counts" else EIGHT_BIT), None
    if target == "real" and not raw.is_table and raw.is_like_pixels:
        note = f"values from 0 to {raw.highest:g} are treated as 8-bit pixels"
        return EIGHT_BIT, f"{note}; {_OVERRIDE}"
    if target == "real" and raw.is_whole and (raw.is_table or raw.highest > 1):
        note = "whole numbers are standardized, as the likelihood is of real numbers"
        return _standard(train, where), f"{note}; {_OVERRIDE}"
    if raw.is_count:
        return COUNTS, None
    if not raw.is_float or not raw.is_table or raw.is_unit:
        return AS_IS, None
    if target in ("counts", "binary", "unit") or (target == "positive" and raw.lowest >= 0):
        return AS_IS, None  # standardized, they would be outside of its support
    return _standard(train, where), None


def _asked(
    source: Source, parts: dict[str, Rows], scale: Scale, is_real: Sequence[bool] | None
) -> Scaling:
    """Return the user's choice of scaling.

    Args:
        source: the origin of the parts.
        parts: raw rows by name.
        scale: the choice.
        is_real: which columns of a table are real numbers, if each has its own family.
    """
    if scale == "standardize":
        return _standard(parts["train"], source.where, is_real)
    raw = value_range(parts)
    if scale == "none":
        is_counted = all(column.kind == "count" for column in source.columns or ())
        return COUNTS if is_counted and raw.is_count and not raw.is_binary else AS_IS
    if is_real is not None and not all(is_real):
        raise InputError(
            f"`scale='unit'` divides all values by the largest, and {source.where} has columns of "
            f"counts or categories, which are not scaled: give `scale='standardize'`, which is "
            f"for its columns of real numbers."
        )
    if raw.is_unit:
        return AS_IS
    if raw.lowest < 0:
        raise InputError(
            f"`scale='unit'` divides values from 0 by the largest, and {source.where} holds "
            f"{raw.lowest:g}: give `scale='standardize'`, or scale the values to [0, 1]."
        )
    if source.top is not None:
        return Scaling("counts", scale=(source.top,))
    if raw.is_bytes or raw.is_like_pixels:
        return EIGHT_BIT
    return Scaling("unit", scale=(raw.highest,))


def as_fitted(
    fitted: Scaling, parts: dict[str, Rows], known: Scaling | None, where: str
) -> Scaling:
    """Return how to read ``parts`` for a model that was fitted on data scaled by ``fitted``.

    It is ``fitted``, except for zeros and ones, which mean no and full intensity on every scale of
    intensities. ``known`` is the scaling stated by the format of the data, if it has one.

    Raises:
        InputError: if the values cannot have the unit of the fit.
    """
    shape, raw = next(iter(parts.values())).shape, value_range(parts)
    columns = None if fitted.loc is None else len(fitted.loc)
    if columns is not None and (shape != (columns,) if raw.is_table else columns > 1):
        raise InputError(
            f"{where} has data of shape {shape}, and the model was fitted on tables of {columns} "
            f"columns: give it the same columns."
        )
    if fitted.kind == "standardized":
        return fitted
    if known in (None, AS_IS) and raw.is_binary:
        return AS_IS
    is_pixels = known == EIGHT_BIT or (known is None and raw.is_bytes and not raw.is_table)
    if fitted.kind == "8-bit" and not is_pixels:
        is_pixels = known is None and raw.lowest >= 0 and 1 < raw.highest <= 255
        if not is_pixels:
            raise InputError(
                f"{where} does not hold 8-bit intensities, and the model was fitted on "
                f"{fitted.sentence()}: give it data in that unit, as uint8 from 0 to 255."
            )
    elif (is_pixels or raw.is_bytes) and fitted != COUNTS and fitted.kind != "8-bit":
        raise InputError(
            f"{where} holds 8-bit intensities, and the model was fitted on {fitted.sentence()}: "
            f"give it data in that unit."
        )
    if fitted.kind == "counts" and not raw.is_count:
        raise InputError(
            f"{where} holds values that are not whole numbers from 0, and the model was fitted on "
            f"counts: give it counts."
        )
    return fitted


def check_observed(rows: Rows, part: str, where: str) -> None:
    """Refuse a part of the data without any observed entry, as no bound could compare fits.

    Raises:
        InputError: naming the part.
    """
    is_empty = isinstance(rows, ArrayRows) and rows.mask is not None and not rows.mask.any()
    if is_empty or (isinstance(rows, DiskRows) and not rows.survey.is_observed):
        raise InputError(
            f"{where}: mask is False in all {len(rows)} rows of the {part} part, so that nothing "
            f"was observed there; it must be True where x was observed: leave out rows without "
            f"such an entry."
        )


def check_finite(rows: Rows, scaling: Scaling, part: str, where: str) -> None:
    """Refuse numbers whose squares overflow single precision after scaling.

    Raises:
        InputError: naming the first such row.
    """
    if not rows.dtype.is_floating_point or _lies_within(rows, scaling, -LARGEST, LARGEST):
        return
    before = 0
    for chunk in rows.chunks():
        fine = scaling.apply(chunk["x"]).abs() <= LARGEST
        if "mask" in chunk:
            fine |= ~chunk["mask"]
        wrong = (~fine).flatten(1).any(1).nonzero()
        if len(wrong):
            row = int(wrong[0])
            largest = float(chunk["x"][row].nan_to_num(0).abs().max())
            raise InputError(
                f"{where} holds {largest:.3g} in {rows.annotations.called(before + row)}, in the "
                f"{part} part, whose square overflows float32 after scaling: rescale the values."
            )
        before += len(fine)


def check_intensities(rows: Rows, scaling: Scaling, binarize: str, where: str) -> None:
    """Refuse to binarize values that are outside of [0, 1] after scaling.

    Raises:
        InputError: naming the first such value.
    """
    if isinstance(rows, ImageRows) or scaling.kind == "8-bit" or _lies_within(rows, scaling, 0, 1):
        return
    for chunk in rows.chunks():
        x = scaling.apply(chunk["x"])
        x = x[chunk["mask"]] if "mask" in chunk else x
        beyond = x[(x < 0) | (x > 1)]
        if len(beyond) == 0:
            continue
        raise InputError(
            f"`binarize={binarize!r}` draws from intensities in [0, 1], and {where} holds "
            f"{beyond[0].item():g}: give `binarize='none'`, or scale the values to [0, 1]."
        )


def _lies_within(rows: Rows, scaling: Scaling, lowest: float, highest: float) -> bool:
    """Whether a survey of rows on disk has shown that all are within, after scaling."""
    known = rows.extremes(scaling)
    return known is not None and known.lowest >= lowest and known.highest <= highest


def _categories(source: Source) -> list[str]:
    """The columns whose numbers are codes of levels."""
    return [c.name for c in source.columns or () if c.levels and c.levels != ("0", "1")]


def _check_no_categories(source: Source, values: Values | None) -> None:
    """Refuse codes of categories under a likelihood that would treat them as numbers.

    Raises:
        InputError: naming the columns.
    """
    if values in (None, "binary"):  # two levels are 0 and 1; more are outside of its support
        return
    names = _categories(source)
    if names:
        raise InputError(
            f"{source.where}: column {', '.join(names[:5])} holds categories, which the likelihood "
            f"would treat as numbers: give `likelihood='PerColumn'`, or `drop={names[:5]}`."
        )


def _standard(train: Rows, where: str, scaled: Sequence[bool] | None = None) -> Scaling:
    """Return the scaling to mean 0 and deviation 1: per column of a table, else as a whole.

    Args:
        train: the training rows.
        where: the name with which errors begin.
        scaled: which columns of a table; the others are unchanged. By default all.
    """
    if isinstance(train, DiskRows) and train.stored.is_large:
        loc, scale = train.survey.moments
    else:
        loc, scale = _moments(train)
    scale = scale.masked_fill(scale == 0, 1.0)
    if not (loc.isfinite() & scale.isfinite()).all():
        column = int((~(loc.isfinite() & scale.isfinite())).nonzero()[0])
        raise InputError(
            f"{where}: column {column} (counted from 0) is too wide to be standardized in double "
            f"precision: rescale it."
        )
    if scaled is not None:
        is_scaled = torch.tensor(scaled)
        loc, scale = loc.masked_fill(~is_scaled, 0), scale.masked_fill(~is_scaled, 1)
    return Scaling("standardized", tuple(loc.tolist()), tuple(scale.tolist()))


def _moments(train: Rows) -> tuple[Tensor, Tensor]:
    """Means and deviations in several passes, for few rows or rows in memory."""
    # Sums over observed entries; a column without any gets mean 0 and scale 1.
    count, total = torch.zeros(()), torch.zeros(())
    for values in _doubles(train):
        count, total = count + (~values.isnan()).sum(0), total + values.nansum(0)
    count = count.clamp(min=1)
    loc = total / count
    # Tested on its values, as the rounded mean of equal numbers need not equal them.
    lowest = torch.stack([v.nan_to_num(math.inf).amin(0) for v in _doubles(train)]).amin(0)
    highest = torch.stack([v.nan_to_num(-math.inf).amax(0) for v in _doubles(train)]).amax(0)
    loc = torch.where(lowest == highest, lowest, loc)
    squares = torch.zeros(())
    for values in _doubles(train):
        squares = squares + (values - loc).square().nansum(0)
    return loc, (squares / count).sqrt()


def _doubles(rows: Rows) -> Iterator[Tensor]:
    """Yield x as a table, chunk by chunk, in double precision; NaN where it was not observed."""
    for chunk in rows.chunks():
        x = chunk["x"].to(torch.float64)
        x = x.masked_fill(~chunk["mask"], math.nan) if "mask" in chunk else x
        yield x if x.ndim == 2 else x.reshape(-1, 1)
