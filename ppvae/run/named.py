"""Covariates given in Python, by column name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppvae.data.covariates import Covariate
from ppvae.errors import InputError
from ppvae.run.answers import is_frame


def by_name(fitted: Sequence[Covariate], y: Any, count: int, name: str) -> dict[str, Any]:
    """The values of covariates by name: one for all ``count`` rows, or a list with one per row.

    Args:
        fitted: the covariates of the fit.
        y: a mapping from names, a table, whose other columns are ignored, or the values of a single
            covariate.
        count: number of rows.
        name: the caller's name of ``y``.

    Raises:
        InputError: for anything else, or another number of values.
    """
    names = [each.name for each in fitted]
    if is_frame(y):
        y = {str(key): values for key, values in y.items() if str(key) in names}
    elif not isinstance(y, Mapping) and len(names) == 1 and np.ndim(y) < 2:
        y = {names[0]: y}
    if not isinstance(y, Mapping):
        raise InputError(
            f"`{name}={y!r:.80}`: give covariates by name, a mapping or a table of "
            f"{', '.join(names)}"
        )
    said = {str(key): list(value) if np.ndim(value) else value for key, value in y.items()}
    for key, values in said.items():
        if isinstance(values, list) and len(values) != count:
            raise InputError(
                f"`{name}` has {len(values)} values of {key}; give one for all, or one for each of "
                f"the {count} rows"
            )
    return said
