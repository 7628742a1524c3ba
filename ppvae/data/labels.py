"""Labels and covariates: what a datum comes with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data.dataset import Data
from ppvae.data.split import Split
from ppvae.errors import GIVE_LABELS, InputError

UNKNOWN = -1
"""The code of a label that is not known."""


def encode(
    y: NDArray[Any],
    where: str,
    names: tuple[str, ...] | None = None,
    categories: Sequence[Any] | None = None,
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return ``y`` as a tensor, and the names of its codes where it holds labels.

    Integers, strings and truth values, (N,), are labels: their codes, int64, count the different
    ones in sorted order, or in the order of ``names`` where given. The integer -1 says that a label
    is not known, and stays -1. Floats, (N, ...), are covariates: float32, never scaled, without
    names. Where there are ``categories``, y holds their places, and -1.

    Raises:
        InputError: for a label that is not in ``names``, a covariate that is not finite, or values
            of another kind.
    """
    if y.dtype.kind == "f":
        return _covariate(y, where), None
    if y.dtype.kind not in "biuUS":
        raise InputError(f"{where}: y holds {y.dtype}; it must hold numbers or strings.")
    if y.ndim != 1:
        raise InputError(
            f"{where}: y has shape {y.shape}; labels are one a row, and covariates are floats."
        )
    is_known = y != UNKNOWN if y.dtype.kind == "i" else np.ones(len(y), dtype=bool)
    if categories is None:
        values, places = np.unique(y[is_known], return_inverse=True)
        categories = values.tolist()
    else:
        places = y[is_known]
    own_names = tuple(
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in categories
    )
    codes = np.full(len(y), UNKNOWN, dtype=np.int64)
    if names is None:
        if not own_names:
            raise InputError(f"{where}: y is -1, not known, in every row; leave it out.")
        codes[is_known] = places
        return torch.from_numpy(codes), own_names
    unknown = [name for name in own_names if name not in names]
    if unknown:
        raise InputError(
            f"{where} has the label {unknown[0]!r}, which the model was not fitted on: its labels "
            f"are {', '.join(names)}."
        )
    codes[is_known] = np.array([names.index(name) for name in own_names], dtype=np.int64)[places]
    return torch.from_numpy(codes), names


def hide(data: Data, keep: int, seed: int = 0) -> Data:
    """Return the data with few of its labels: for the rest y is -1, not known.

    Of the training data ``keep`` labels stay, as many of each class as of the next, or one more
    where the classes do not divide them. The others' go, and all of valid and test: what is
    reported of them is then about log p(x), as of data whose labels nobody has.

    Args:
        data: with labels.
        keep: how many labels of the training data stay.
        seed: decides which.

    Raises:
        InputError: where y is no labels, or there are too few of a class.
    """
    if data.labels is None:
        raise InputError(
            f"`labels={keep}` hides labels, and {data.name} has none; {GIVE_LABELS}, or "
            f"leave it out."
        )
    if data.covariates:
        raise InputError(
            f"`labels={keep}` hides labels that the model is shown, and it is shown covariates of "
            f"{data.name} in their place; leave out one or the other."
        )
    names = data.labels
    return replace(
        data,
        train=_hidden(data.train, lambda y: _balanced(y, names, keep, seed)),
        valid=_hidden(data.valid, torch.zeros_like),
        test=_hidden(data.test, torch.zeros_like),
    )


def known_rows(split: Split) -> Tensor:
    """Which rows of a split have a label that is known: (N,), bool.

    Raises:
        InputError: of a split that has no labels.
    """
    y = split.beside.get("y")
    if y is None or y.is_floating_point():
        raise InputError(
            "`labelled` asks for rows with a label, and the training data has none; "
            f"{GIVE_LABELS}, or leave it out"
        )
    return (y != UNKNOWN).cpu()


def _hidden(split: Split, kept: Callable[[Tensor], Tensor]) -> Split:
    """Return the split with -1 for y where ``kept`` of y is 0."""
    y = split.beside["y"].cpu()
    return split.with_y(torch.where(kept(y).bool(), y, UNKNOWN))


def _balanced(y: Tensor, names: tuple[str, ...], keep: int, seed: int) -> Tensor:
    """Return which rows keep their labels: (N,)."""
    if not len(names) <= keep <= len(y):
        raise InputError(
            f"`labels={keep}`: give at least one for each of the {len(names)} classes, and at most "
            f"the {len(y):,} of the training data."
        )
    choice = torch.Generator().manual_seed(seed)
    each, more = divmod(keep, len(names))
    kept = torch.zeros(len(y), dtype=torch.bool)
    for place, code in enumerate(torch.randperm(len(names), generator=choice).tolist()):
        rows, count = (y == code).nonzero()[:, 0], each + (place < more)
        if len(rows) < count:
            raise InputError(
                f"`labels={keep}` asks for {count} of each class, and the training data has "
                f"{len(rows)} of {names[code]!r}; keep fewer."
            )
        kept[rows[torch.randperm(len(rows), generator=choice)[:count]]] = True
    return kept


def _covariate(y: NDArray[Any], where: str) -> Tensor:
    covariate = torch.from_numpy(y.astype(np.float32))
    wrong = (~(covariate.abs() <= 1e18)).reshape(len(y), math.prod(y.shape[1:])).any(1).nonzero()
    if len(wrong):
        raise InputError(
            f"{where}: y is not a finite number in row {int(wrong[0])} (counted from 0), or "
            f"beyond 1e18; drop such rows."
        )
    return covariate
