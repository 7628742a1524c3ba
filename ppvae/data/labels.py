"""Labels and covariates of data."""

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
"""The code of an unknown label."""


def encode(
    y: NDArray[Any],
    where: str,
    names: tuple[str, ...] | None = None,
    categories: Sequence[Any] | None = None,
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return ``y`` as a tensor, and the names of its codes where it holds labels.

    Integers, strings and truth values, (N,), are labels: their codes, int64, number the distinct
    ones in sorted order, or in the order of ``names`` if given. The integer -1 marks an unknown
    label, and stays -1. Floats, (N, ...), are covariates: float32, never scaled, without
    names. With ``categories``, y holds their positions, and -1.

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
            f"{where}: y has shape {y.shape}; labels are one per row, and covariates are floats."
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
            raise InputError(f"{where}: y is -1, unknown, in every row; leave it out.")
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
    """Return the data with only few labels: all others are -1, unknown.

    In the training data ``keep`` labels stay, equally many of each class, or one more where the
    number of classes does not divide them. All others are hidden, also in valid and test, whose
    figures are then about log p(x), as for unlabelled data.

    Args:
        data: with labels.
        keep: number of labels that stay in the training data.
        seed: of their choice.

    Raises:
        InputError: if y is not labels, or a class has too few.
    """
    if data.labels is None:
        raise InputError(
            f"`labels={keep}` hides labels, and {data.name} has none; {GIVE_LABELS}, or "
            f"leave it out."
        )
    if data.covariates:
        raise InputError(
            f"`labels={keep}` hides labels from the model, which is given covariates of "
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
    """Which rows of a split have a known label: (N,), bool.

    Raises:
        InputError: for a split without labels.
    """
    y = split.beside.get("y")
    if y is None or y.is_floating_point():
        raise InputError(
            "`labelled` asks for rows with a label, and the training data has none; "
            f"{GIVE_LABELS}, or leave it out"
        )
    return (y != UNKNOWN).cpu()


def _hidden(split: Split, kept: Callable[[Tensor], Tensor]) -> Split:
    """Return the split with -1 for y where ``kept(y)`` is 0."""
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
