"""Statistics of a table: of each column, in the units of the table, and the association of all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Scaling, Split
from ppvae.data.scaling import AS_IS
from ppvae.diagnostics.model.predictive import (
    STATISTICS,
    OfColumn,
    PositiveColumn,
    Replicated,
    Statistic,
    observed_x,
    skewness,
)
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.networks.columns import Column
from ppvae.networks.log_counts import log_counts

MOST = 30
"""Maximum number of columns, and of levels of a category, with their own statistics."""

NEGATIVE = 0.01
"""Minimum gross share of negative draws of a column without negative values."""

SKEWED = 0.5
"""Minimum gross difference of two skewnesses."""


def statistics_for(
    supports: Mapping[str, tuple[str, Any]],
    columns: Sequence[Column] = (),
    scaling: Scaling = AS_IS,
    positive: Mapping[str, tuple[int, float]] = MappingProxyType({}),
) -> Mapping[str, Statistic]:
    """Statistics for the observed sites: of all elements, and of columns of a table.

    Args:
        supports: family and support of each site, from the audit.
        columns: the columns of x, if it is a table, from `modelled_columns`.
        scaling: how x was made from the values of the table.
        positive: the columns without negative values, from `positive_columns`.
    """
    if mixed := modelled_columns(supports):
        return of_columns(mixed, scaling, positive)
    found: Mapping[str, Statistic] = STATISTICS
    for place, column in list(enumerate(columns))[:MOST]:
        found = {**found, **_shape(place, column, positive)}
    return found


def modelled_columns(
    supports: Mapping[str, tuple[str, Any]], columns: Sequence[Column] | None = None
) -> Sequence[Column]:
    """The columns of a likelihood per column; else those of the data, if they are a table."""
    for _, support in supports.values():
        if isinstance(elements := elements_of(support), Columnwise):
            return elements.columns
    return columns or ()


def of_columns(
    columns: Sequence[Column],
    scaling: Scaling = AS_IS,
    positive: Mapping[str, tuple[int, float]] = MappingProxyType({}),
) -> Mapping[str, Statistic]:
    """Association of the columns; of each, mean, deviation and skewness, or shares of levels."""
    found: dict[str, Statistic] = {"association of columns": partial(association, columns=columns)}
    for place, column in list(enumerate(columns))[:MOST]:
        for code, level in list(enumerate(column.levels))[:MOST]:
            share = OfColumn(place, partial(_share, code=code))
            found[f"share of {column.name} = {level}"] = share
        if not column.levels:
            loc, scale = _unit(scaling, place)
            found[f"mean of {column.name}"] = OfColumn(place, partial(_mean, loc=loc, scale=scale))
            found[f"scale of {column.name}"] = OfColumn(place, partial(_scale, scale=scale))
        found |= _shape(place, column, positive)
    return found


def _shape(
    place: int, column: Column, positive: Mapping[str, tuple[int, float]]
) -> Mapping[str, Statistic]:
    """Skewness of a real column, and its negative share if it has no negative value."""
    if column.kind != "real":
        return {}
    found: dict[str, Statistic] = {f"skewness of {column.name}": OfColumn(place, skewness)}
    if column.name in positive:
        below = partial(_below, zero=positive[column.name][1])
        found[f"negative share of {column.name}"] = OfColumn(place, below)
    return found


def positive_columns(
    columns: Sequence[Column], parts: Iterable[Split], scaling: Scaling = AS_IS
) -> dict[str, tuple[int, float]]:
    """Real columns without a negative value in the observed cells of these parts of the data.

    Returns:
        by name, the place of each, and the value of x below which it is negative. A 0 of the
        table may be rounded in single precision, and is not negative.
    """
    zeros = {place: _zero(scaling, place) for place, c in enumerate(columns) if c.kind == "real"}
    for part in parts if zeros else ():
        for batch in part.chunks(4096):
            x = observed_x([batch])
            least = x.nan_to_num(torch.inf, torch.inf, -torch.inf).amin(0).tolist()
            zeros = {place: zero for place, zero in zeros.items() if not least[place] < zero}
    return {columns[place].name: (place, zero) for place, zero in zeros.items()}


def negative_draws(columns: Iterable[PositiveColumn]) -> list[PositiveColumn]:
    """Columns without negative values of which the model draws many; the largest share first.

    A column counts if every set from the model has negative values, more than `NEGATIVE` of them
    on average, and the skewness fails too: a few negative draws are harmless.
    """
    found = [each for each in columns if _is_gross(each.negative_share.replicated, each.skewness)]
    return sorted(found, key=lambda each: -float(each.negative_share.replicated.mean()))


def _is_gross(drawn: Tensor, skewed: Replicated) -> bool:
    others, own = skewed.replicated, skewed.observed
    is_outside = bool((others < own).all() or (others > own).all())
    off = abs(own - float(others.mean()))
    return float(drawn.min()) > 0 and float(drawn.mean()) > NEGATIVE and is_outside and off > SKEWED


def _unit(scaling: Scaling, place: int) -> tuple[float, float]:
    """Loc and scale of a column: its values are x * scale + loc."""
    loc, scale = scaling.loc or (0.0,), scaling.scale or (1.0,)
    return loc[place % len(loc)], scale[place % len(scale)]


def _zero(scaling: Scaling, place: int) -> float:
    loc, scale = _unit(scaling, place)
    return -loc / scale - 1e-5 * max(1.0, abs(loc / scale))


def _share(values: Tensor, code: int) -> Tensor:
    return (values == code).double().mean()


def _mean(values: Tensor, loc: float, scale: float) -> Tensor:
    return values.double().mean() * scale + loc


def _scale(values: Tensor, scale: float) -> Tensor | float:
    return values.double().std() * scale if len(values) > 1 else math.nan


def _below(values: Tensor, zero: float) -> Tensor:
    return (values < zero).double().mean()


def association(x: Tensor, columns: Sequence[Column]) -> Tensor:
    """Root mean square correlation of features of different columns.

    Features are real numbers, log(1 + x) of counts, and one-hot levels of categories.
    """
    each: list[Tensor] = []
    owner: list[int] = []
    for place, column in enumerate(columns):
        values = x[:, place].double()
        own = [log_counts(values) if column.kind == "count" else values]
        if column.levels:
            own = [(values == code).double() for code in range(len(column.levels))]
        each += own
        owner += [place] * len(own)
    features = torch.stack(each)
    varies = features.std(1) > 0
    of = torch.tensor(owner, device=x.device)[varies]
    square = torch.corrcoef(features[varies]).reshape(len(of), len(of)).square()
    apart = of[:, None] != of
    return square[apart].mean().sqrt() if bool(apart.any()) else x.new_tensor(torch.nan)
