"""Rows of data for baselines: a matrix of limited size."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.programs.streams import Stream

NUMBERS = 2**23
"""Maximum number of values of x to fit and to score a baseline, 32 MiB each."""

DRAWN = 10_000
"""Number of rows up to which data with fresh noise in each batch are drawn repeatedly."""


@dataclass(frozen=True)
class Matrix:
    """Rows as a matrix.

    Attributes:
        x: ``(rows, elements)``, float32, as the model sees it.
        observed: where x was observed, bool, like it; ``None``: everywhere.
        y: labels ``(rows,)`` or covariates ``(rows, ...)``, if the data have any.
        numbers: row numbers in the split.
        size_factor: factor of the mean of counts, ``(rows,)``, if the data have it.
    """

    x: Tensor
    observed: Tensor | None
    y: Tensor | None
    numbers: Tensor
    size_factor: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def where(self, chosen: Tensor) -> "Matrix":
        """Some of the rows."""
        every = (self.observed, self.y, self.size_factor)
        observed, y, size_factor = (None if each is None else each[chosen] for each in every)
        return Matrix(self.x[chosen], observed, y, self.numbers[chosen], size_factor)

    def some(self, elements: Tensor) -> "Matrix":
        """Some of the elements, by a bool per element, or by index."""
        observed = None if self.observed is None else self.observed[:, elements]
        return replace(self, x=self.x[:, elements], observed=observed)

    def of(self, x: Tensor) -> "Matrix":
        """The same rows with another x."""
        return replace(self, x=x)

    @property
    def weight(self) -> Tensor:
        """1 where x was observed, else 0: like x."""
        return torch.ones_like(self.x) if self.observed is None else self.observed.to(self.x.dtype)


def matrix(split: Split, seed: int) -> Matrix:
    """The rows of a split, or a seeded sample of them above `NUMBERS` numbers.

    Rows that are binarized in each batch are drawn as in training, several times if there are fewer
    than `DRAWN`.
    """
    elements = math.prod(split.shape)
    most = max(2, NUMBERS // elements)
    numbers = Stream.BASELINES.rows(len(split), most, seed, 0)
    if split.frozen(0) is not split:
        numbers = numbers.repeat(max(1, min(DRAWN, most) // len(numbers)))
    with Stream.BASELINES.drawn(seed):
        batches = list(split.batches(numbers.split(4096)))
    whole = {name: torch.cat([batch[name].cpu() for batch in batches]) for name in batches[0]}
    mask = whole.get("mask")
    return Matrix(
        whole["x"].flatten(1), None if mask is None else mask.flatten(1), whole.get("y"), numbers,
        whole.get("size_factor"),
    )  # fmt: skip
