"""Statistics of a table: of each column, in the units of the table, and the association of all."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Scaling
from ppvae.data.scaling import AS_IS
from ppvae.diagnostics.model.predictive import STATISTICS, Replicated, Statistic
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

_SKEWNESS, _NEGATIVE = "skewness of {}", "negative share of {}"


def statistics_for(
    supports: Mapping[str, tuple[str, Any]],
    x: Tensor | None = None,
    columns: Sequence[Column] | None = None,
    scaling: Scaling = AS_IS,
) -> Mapping[str, Statistic]:
    """Statistics for the observed sites: of all elements, and of each column of a table.

    Args:
        supports: family and support of each site, from the audit.
        x: the data ``(data, *shape)``, for statistics of columns without negative values.
        columns: the columns of x, if it is a table.
        scaling: how x was made from the values of the table.
    """
    for _, support in supports.values():
        elements = elements_of(support)
        if isinstance(elements, Columnwise):
            return of_columns(elements.columns, x, scaling)
    found: Mapping[str, Statistic] = STATISTICS
    for place, column in list(enumerate(columns or ()))[:MOST]:
        found = {**found, **_shape(place, column, x, scaling)}
    return found


def of_columns(
    columns: Sequence[Column], x: Tensor | None = None, scaling: Scaling = AS_IS
) -> Mapping[str, Statistic]:
    """Association of the columns; of each, mean, deviation and skewness, or shares of levels."""
    found: dict[str, Statistic] = {"association of columns": partial(association, columns=columns)}
    for place, column in list(enumerate(columns))[:MOST]:
        for code, level in list(enumerate(column.levels))[:MOST]:
            share = partial(_share, place=place, code=code)
            found[f"share of {column.name} = {level}"] = share
        if not column.levels:
            loc, scale = _unit(scaling, place)
            found[f"mean of {column.name}"] = partial(_mean, place=place, loc=loc, scale=scale)
            found[f"scale of {column.name}"] = partial(_scale, place=place, scale=scale)
        found |= _shape(place, column, x, scaling)
    return found


def _shape(
    place: int, column: Column, x: Tensor | None, scaling: Scaling
) -> Mapping[str, Statistic]:
    """Skewness of a real column, and its negative share if it has no negative value."""
    if column.kind != "real":
        return {}
    found: dict[str, Statistic] = {_SKEWNESS.format(column.name): partial(_skewness, place=place)}
    loc, scale = _unit(scaling, place)
    # A 0 of the table may be rounded in single precision.
    zero = -loc / scale - 1e-5 * max(1.0, abs(loc / scale))
    below = partial(_below, place=place, zero=zero)
    if x is not None and not below(x):
        found[_NEGATIVE.format(column.name)] = below
    return found


def negative_draws(statistics: Mapping[str, Replicated]) -> list[tuple[str, float]]:
    """Columns without negative values of which the model draws many; the largest share first.

    A column counts if every set from the model has negative values, more than `NEGATIVE` of them
    on average, and the skewness fails too: a few negative draws are harmless.
    """
    found = []
    for name, share in statistics.items():
        column = re.fullmatch(_NEGATIVE.format("(.+)"), name, re.DOTALL)
        skewness = column and statistics.get(_SKEWNESS.format(column[1]))
        if column and skewness and _is_gross(share, skewness):
            found.append((column[1], float(share.replicated.mean())))
    return sorted(found, key=lambda each: -each[1])


def _is_gross(share: Replicated, skewness: Replicated) -> bool:
    drawn, skewed = share.replicated, skewness.replicated
    is_outside = bool((skewed < skewness.observed).all() or (skewed > skewness.observed).all())
    off = abs(skewness.observed - float(skewed.mean()))
    return (
        share.observed == 0
        and float(drawn.min()) > 0
        and float(drawn.mean()) > NEGATIVE
        and is_outside
        and off > SKEWED
    )


def _unit(scaling: Scaling, place: int) -> tuple[float, float]:
    """Loc and scale of a column: its values are x * scale + loc."""
    loc, scale = scaling.loc or (0.0,), scaling.scale or (1.0,)
    return loc[place % len(loc)], scale[place % len(scale)]


def _share(x: Tensor, place: int, code: int) -> Tensor:
    return (x[:, place] == code).double().mean()


def _mean(x: Tensor, place: int, loc: float, scale: float) -> Tensor:
    return x[:, place].double().mean() * scale + loc


def _scale(x: Tensor, place: int, scale: float) -> Tensor:
    return x[:, place].double().std() * scale


def _skewness(x: Tensor, place: int) -> Tensor:
    centred = x[:, place].double() - x[:, place].double().mean()
    return centred.pow(3).mean() / centred.square().mean().pow(1.5)


def _below(x: Tensor, place: int, zero: float) -> Tensor:
    return (x[:, place] < zero).double().mean()


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
