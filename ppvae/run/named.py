"""Covariates that are said from Python, by the names of their columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppvae.data.covariates import Covariate
from ppvae.errors import InputError
from ppvae.run.answers import is_frame


def by_name(fitted: Sequence[Covariate], y: Any, count: int, name: str) -> dict[str, Any]:
    """The values of covariates by name: one for all of ``count`` rows, or a list of one for each.

    Args:
        fitted: the covariates of the fit.
        y: a mapping of names, a table, of which other columns are left out, or the values of the
            one covariate that there is.
        count: how many rows they go with.
        name: what the caller calls ``y``.

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
