"""Binarization of intensities in [0, 1] for Bernoulli likelihoods.

Noise that must be the same at each pass is a function of (seed, stream, row, pixel) alone, made by
a counter-based generator: a row gets its own noise in whatever order, batch or memory it is read.
"""

import math
from dataclasses import dataclass, replace
from typing import Self, final

import numpy as np
import torch
from torch import Tensor

from ppvae.settings import Binarize

# Which noise a split gets, so that row 7 of `test` shares none with row 7 of `valid`.
STREAMS = {"train": 0, "valid": 1, "test": 2, "new": 3}

# Philox makes blocks of 256 random bits, eight 32-bit floats, from one count.
_FLOATS_PER_COUNT = 8


@final
@dataclass(frozen=True)
class Binarization:
    """A map from intensities in [0, 1] to what a model is shown.

    Args:
        how: ``"none"``: x as it was scaled. ``"threshold"``: 1 where x >= 0.5, else 0.
            ``"static"``: one draw of Bernoulli(x) per row, the same at each pass. ``"dynamic"``: a
            fresh draw each time, from torch's global generator of x's device, so that a run that
            restores torch's random state repeats its noise exactly.
        stream: which noise a static draw takes; see `STREAMS`.
        seed: of a static draw.
    """

    how: Binarize = "none"
    stream: int = 0
    seed: int = 0

    @property
    def is_fixed(self) -> bool:
        """Whether a row is mapped to the same value each time, so that once is enough."""
        return self.how != "dynamic"

    def __call__(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map ``x``, (batch, *shape) in [0, 1], which are the rows ``rows`` of their split."""
        if self.how == "none":
            return x
        if self.how == "threshold":
            return (x >= 0.5).to(x.dtype)
        if self.how == "dynamic":
            # A comparison, and not torch.bernoulli: the same distribution, faster.
            return (torch.rand_like(x) < x).to(x.dtype)
        noise = uniforms(self.seed, self.stream, rows, math.prod(x.shape[1:]))
        return (noise.to(x.device).view_as(x) < x).to(x.dtype)

    def frozen(self, seed: int) -> Self:
        """Return the version that is fixed: itself, or one draw of it by ``seed``."""
        return self if self.is_fixed else replace(self, how="static", seed=seed)


def binarization(how: Binarize, split: str, seed: int) -> Binarization:
    """Return what ``binarize=how`` means in the split named ``split``: only training varies."""
    if how == "dynamic" and split != "train":
        how = "static"
    return Binarization(how, STREAMS[split], seed)


def uniforms(seed: int, stream: int, rows: Tensor, size: int) -> Tensor:
    """Return U[0, 1) noise of shape (len(rows), size), a function of seed, stream and row only."""
    counts = -(-size // _FLOATS_PER_COUNT)
    key = np.random.SeedSequence((seed, stream)).generate_state(2, np.uint64)
    numbers = rows.cpu().numpy()
    # Rows that follow each other are one stretch of the stream: a whole split is one call.
    stretches = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    noise = [
        np.random.Generator(np.random.Philox(key=key, counter=int(stretch[0]) * counts)).random(
            (len(stretch), counts * _FLOATS_PER_COUNT), dtype=np.float32
        )[:, :size]
        for stretch in stretches
        if len(stretch)
    ]
    return torch.from_numpy(np.concatenate(noise) if noise else np.zeros((0, size), np.float32))
