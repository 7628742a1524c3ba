"""Statistics of a mixed table: of each column, and the association of columns."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.model.predictive import STATISTICS, Statistic
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.networks.columns import Column
from ppvae.networks.log_counts import log_counts

MOST = 30
"""Maximum number of columns, and of levels of a category, with their own statistics."""


def statistics_for(supports: Mapping[str, tuple[str, Any]]) -> Mapping[str, Statistic]:
    """Statistics for the observed sites: of each column, if columns are of several kinds.

    Args:
        supports: family and support of each site, from the audit.
    """
    for _, support in supports.values():
        elements = elements_of(support)
        if isinstance(elements, Columnwise):
            return of_columns(elements.columns)
    return STATISTICS


def of_columns(columns: Sequence[Column]) -> Mapping[str, Statistic]:
    """Association of the columns, and mean and deviation, or shares of levels, of each."""
    found: dict[str, Statistic] = {"association of columns": partial(association, columns=columns)}
    for place, column in list(enumerate(columns))[:MOST]:
        for code, level in list(enumerate(column.levels))[:MOST]:
            share = partial(_share, place=place, code=code)
            found[f"share of {column.name} = {level}"] = share
        if not column.levels:
            found[f"mean of {column.name}"] = partial(_mean, place=place)
            found[f"scale of {column.name}"] = partial(_scale, place=place)
    return found


def _share(x: Tensor, place: int, code: int) -> Tensor:
    return (x[:, place] == code).double().mean()


def _mean(x: Tensor, place: int) -> Tensor:
    return x[:, place].double().mean()


def _scale(x: Tensor, place: int) -> Tensor:
    return x[:, place].double().std()


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
