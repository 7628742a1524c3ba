"""Walks from the code of one datum to that of another."""

import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.errors import InputError
from ppvae.programs.streams import Stream, generator


class Walks:
    """Random pairs of data, and the straight lines between their codes."""

    def __init__(self, rows: Split, pairs: int, steps: int, seed: int) -> None:
        pairs = min(pairs, len(rows) // 2)
        if pairs < 1:
            raise InputError(f"a walk needs 2 rows of data, and there are {len(rows)}; give more")
        self.steps = steps
        ends = torch.randperm(len(rows), generator=generator(Stream.SHOWN_ROWS.seed(seed, 1)))
        self.ends: Batch = rows.take(ends[: 2 * pairs])
        starts = {name: value[:pairs] for name, value in self.ends.items()}
        self.like: Batch = {n: value.repeat_interleave(steps, 0) for n, value in starts.items()}

    def between(self, code: Tensor) -> Tensor:
        """``(pairs * steps, ...)`` points between the first half of ``code`` and the second."""
        if len(code) != len(self.ends["x"]):
            return code  # a latent that all data share
        if not code.is_floating_point():  # no class lies between two others
            return code[: len(code) // 2].repeat_interleave(self.steps, 0)
        start, end = code.chunk(2)
        weight = torch.linspace(0, 1, self.steps, dtype=code.dtype)
        weight = weight.reshape(1, -1, *(1,) * (code.dim() - 1))
        return (start[:, None] + weight * (end - start)[:, None]).flatten(0, 1)
