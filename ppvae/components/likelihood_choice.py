"""Choice of a likelihood for given data, as the way out of errors."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.components.kinds import KINDS
from ppvae.data import Data, Values

CHUNK = 2048
"""Rows per batch of a check."""


def ways_out(data: Data, kind: Values | None) -> str:
    """Choices with which the data have a probability.

    Args:
        data: the data, which do not fit the likelihood.
        kind: the kind of values that the likelihood takes.
    """
    x = _distinct(data)
    ways = [
        "`" + ", ".join([f"likelihood={name!r}", *(f"likelihood.{k}={v!r}" for k, v in own)]) + "`"
        for name, own in sorted((name, own.items()) for name, own in _takers(x).items())
    ]
    columns = data.columns or ()
    is_mixed = len({c.kind for c in columns}) > 1 or any(len(c.levels) > 2 for c in columns)
    if is_mixed:
        ways = ["`likelihood='PerColumn'` (each column by its kind)"]
    has_top = data.source is not None and data.source.top is not None
    could_be_binarized = has_top or bool(((x >= 0) & (x <= 1)).all())
    if kind == "binary" and could_be_binarized and data.binarize == "none":
        ways.insert(0, "`binarize='dynamic'` (or static, or threshold)")
    elif kind in ("binary", "unit") and data.is_like_pixels and not is_mixed:
        more = ", binarize='dynamic'" if kind == "binary" else ""
        ways.insert(
            0, f"`scale='unit'{more}` (it divides pixels from 0 to 255 by 255, as they would be as "
            "uint8)",
        )  # fmt: skip
    elif kind == "counts" and data.scaling.kind == "8-bit":
        ways.insert(0, "`scale='none'` (grey levels as whole numbers)")
    return "choose " + ", or ".join(ways)


def _distinct(data: Data) -> Tensor:
    """The distinct values of x; for 8-bit intensities, those of the first rows."""
    distinct: list[Tensor] = []
    for split in data.splits.values():
        for batch in split.frozen(0).chunks(CHUNK):
            x = batch["x"]
            distinct.append((x[batch["mask"]] if "mask" in batch else x).unique())
            if data.scaling.kind == "8-bit":
                break
    values: Tensor = torch.cat(distinct).unique()
    return values


def _takers(x: Tensor) -> dict[str, dict[str, Any]]:
    """Likelihoods of the values ``x``, with the arguments that they need.

    Only the most specific ones: zeros and ones have a probability as counts too, and counts a
    density as real numbers, which are seldom wanted.
    """
    likelihoods = KINDS["likelihood"].names()
    arguments = {name: likelihood.arguments_for(x) for name, likelihood in likelihoods.items()}
    takers = {name: own for name, own in arguments.items() if own is not None}
    supports = {name: likelihoods[name].support for name in takers}
    made_for_it = set(takers)
    if bool(constraints.boolean.check(x).all()):
        made_for_it = {name for name, s in supports.items() if s is constraints.boolean}
    elif bool((x == x.round()).all()):
        made_for_it = {name for name, s in supports.items() if s.is_discrete}
    return {name: own for name, own in takers.items() if name in made_for_it} or takers
