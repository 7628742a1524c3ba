"""Conditions of draws: labels by name, or covariates."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.data.containers import plain
from ppvae.data.covariates import encode_values
from ppvae.errors import InputError
from ppvae.run.named import by_name
from ppvae.run.run import Run

_ONE = (str, bytes, bool, int, float, np.generic)


def conditioned(run: Run, like: Batch, y: Any, name: str) -> tuple[Batch, Batch]:
    """Rows with the given y, and that y as a latent, if it is one in the model.

    Args:
        run: the run.
        like: rows of its data.
        y: a label, or one per row; covariates, or those of each row; for covariates of a fitted
            table see `ppvae.run.named.by_name`. None: those of ``like``.
        name: the caller's name of ``y``.

    Raises:
        InputError: if the model is not conditional on such y.
    """
    if y is None:
        return like, {}
    is_latent = "y" in run.audit.latents
    if not is_latent and "y" not in run.pair.names("model"):
        raise InputError(
            f"`{name}={y!r:.80}`: the model is not conditional on anything; fit a ConditionalVAE "
            "or a SemiSupervisedVAE instead"
        )
    value = _condition(run, y, len(like["x"]), name)
    return like | {"y": value}, {"y": value} if is_latent else {}


def _condition(run: Run, y: Any, count: int, name: str) -> Tensor:
    """Codes of labels, or covariates, for ``count`` rows."""
    names, fitted, schema = run.label_names, run.example().get("y"), run.schema
    if schema.covariates:
        said = by_name(schema.covariates, y, count, name)
        encoded = torch.from_numpy(encode_values(schema.covariates, said, count))
        return _rows(encoded, encoded.shape[1:], count, name)
    if names is not None:
        given = [y] * count if isinstance(y, _ONE) else plain_list(y, name)
        unknown = [each for each in given if str(each) not in names]
        if unknown:
            raise InputError(
                f"`{name}={str(unknown[0])!r}` is not a label of the run's data; its labels are "
                f"{', '.join(names)}"
            )
        codes = torch.tensor([names.index(str(each)) for each in given])
        return _rows(codes, torch.Size(), count, name)
    shape = torch.Size() if fitted is None else fitted.shape[1:]
    try:
        covariates = torch.as_tensor(np.asarray(plain(y, name, "y").values, np.float32))
        if covariates.numel() == shape.numel() and covariates.shape[:1] != (count,):
            covariates = covariates.reshape(shape)
    except ValueError:
        covariates = torch.tensor(torch.nan)
    if not covariates.isfinite().all():
        raise InputError(
            f"`{name}={y!r:.80}` does not match the covariates of the model: give {shape.numel()} "
            "numbers"
        )
    return _rows(covariates, shape, count, name)


def plain_list(y: Any, name: str) -> list[Any]:
    """Labels as a list."""
    contents = plain(y, name, "y")
    if contents.categories is None:
        return list(contents.values.tolist())
    return [contents.categories[code] for code in contents.values.tolist()]


def _rows(value: Tensor, shape: torch.Size, count: int, name: str) -> Tensor:
    """One value per row: a single value is repeated."""
    if value.shape == shape:
        return value.expand(count, *shape)
    if value.shape != (count, *shape):
        raise InputError(
            f"`{name}` has shape {tuple(value.shape)}; give one for all rows, {tuple(shape)}, or "
            f"one per row, {(count, *shape)}"
        )
    return value
