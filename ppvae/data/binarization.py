"""Binarization of intensities in [0, 1] for Bernoulli likelihoods.

Fixed noise is a function of (seed, stream, row, pixel) only, from a counter-based generator: a row
has the same noise in any order or batch, in memory or on disk.
"""

import math
from dataclasses import dataclass, replace
from typing import Self, final

import numpy as np
import torch
from torch import Tensor

from ppvae.settings import Binarize

# The noise stream of each split, so that row 7 of `test` shares no noise with row 7 of `valid`.
STREAMS = {"train": 0, "valid": 1, "test": 2, "new": 3}

# Philox makes blocks of 256 random bits, eight 32-bit floats, per count.
_FLOATS_PER_COUNT = 8


@final
@dataclass(frozen=True)
class Binarization:
    """A map from intensities in [0, 1] to the x of a model.

    Args:
        how: ``"none"``: the scaled x. ``"threshold"``: 1 where x >= 0.5, else 0.
            ``"static"``: one draw of Bernoulli(x) per row, the same at each pass. ``"dynamic"``: a
            fresh draw each time, from torch's global generator of x's device, so that a run that
            restores torch's random state repeats its noise exactly.
        stream: the noise stream of a static draw; see `STREAMS`.
        seed: of a static draw.
    """

    how: Binarize = "none"
    stream: int = 0
    seed: int = 0

    @property
    def is_fixed(self) -> bool:
        """Whether a row always gets the same value, so that it can be computed once."""
        return self.how != "dynamic"

    def __call__(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map ``x``, (batch, *shape) in [0, 1], which are the rows ``rows`` of their split."""
        if self.how == "none":
            return x
        if self.how == "threshold":
            return (x >= 0.5).to(x.dtype)
        if self.how == "dynamic":
            # A comparison instead of torch.bernoulli: the same distribution, faster.
            return (torch.rand_like(x) < x).to(x.dtype)
        noise = uniforms(self.seed, self.stream, rows, math.prod(x.shape[1:]))
        return (noise.to(x.device).view_as(x) < x).to(x.dtype)

    def frozen(self, seed: int) -> Self:
        """Return the version that is fixed: itself, or one draw of it by ``seed``."""
        return self if self.is_fixed else replace(self, how="static", seed=seed)


def binarization(how: Binarize, split: str, seed: int) -> Binarization:
    """Return ``binarize=how`` for the split named ``split``: only training data vary."""
    if how == "dynamic" and split != "train":
        how = "static"
    return Binarization(how, STREAMS[split], seed)


def uniforms(seed: int, stream: int, rows: Tensor, size: int) -> Tensor:
    """Return U[0, 1) noise of shape (len(rows), size), a function of seed, stream and row only."""
    counts = -(-size // _FLOATS_PER_COUNT)
    key = np.random.SeedSequence((seed, stream)).generate_state(2, np.uint64)
    numbers = rows.cpu().numpy()
    # Consecutive rows are one stretch of the stream, so that a whole split is one call.
    stretches = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    noise = [
        np.random.Generator(np.random.Philox(key=key, counter=int(stretch[0]) * counts)).random(
            (len(stretch), counts * _FLOATS_PER_COUNT), dtype=np.float32
        )[:, :size]
        for stretch in stretches
        if len(stretch)
    ]
    return torch.from_numpy(np.concatenate(noise) if noise else np.zeros((0, size), np.float32))
