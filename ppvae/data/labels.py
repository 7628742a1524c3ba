"""Labels and covariates: what a datum comes with."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.errors import InputError


def encode(
    y: NDArray[Any], where: str, names: tuple[str, ...] | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return ``y`` as a tensor, and the names of its codes where it holds labels.

    Integers, strings and truth values, (N,), are labels: their codes, int64, count the different
    ones in sorted order, or in the order of ``names`` where given. Floats, (N, ...), are
    covariates: float32, never scaled, without names.

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
    values, codes = np.unique(y, return_inverse=True)
    found = tuple(
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in values.tolist()
    )
    if names is None:
        return torch.from_numpy(codes.astype(np.int64)), found
    unknown = [name for name in found if name not in names]
    if unknown:
        raise InputError(
            f"{where} has the label {unknown[0]!r}, which the model was not fitted on: its labels "
            f"are {', '.join(names)}."
        )
    known = np.array([names.index(name) for name in found], dtype=np.int64)
    return torch.from_numpy(known[codes]), names


def _covariate(y: NDArray[Any], where: str) -> Tensor:
    covariate = torch.from_numpy(y.astype(np.float32))
    wrong = (~covariate.isfinite()).reshape(len(y), math.prod(y.shape[1:])).any(1).nonzero()
    if len(wrong):
        raise InputError(
            f"{where}: y is not a finite number in row {int(wrong[0])} (counted from 0); drop "
            f"such rows."
        )
    return covariate
