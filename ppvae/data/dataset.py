"""A data set as a program is fitted to it."""

from dataclasses import dataclass
from typing import final

import torch

from ppvae.data.binarization import Binarize
from ppvae.data.scaling import Scaling
from ppvae.data.split import Split

_BINARIZED: dict[Binarize, str] = {
    "none": "",
    "dynamic": ", binarized anew in every training batch",
    "static": ", binarized by one draw",
    "threshold": ", 1 from 0.5 on and else 0",
}


@final
@dataclass(frozen=True, eq=False)
class Data:
    """Three parts of one data set, and how they were read.

    Args:
        name: a known name, or the name of the file or folder without its suffix.
        shape: that of one datum, (channels, height, width) or (columns,).
        train: what is fitted.
        valid: what picks the best step and stops.
        test: what is only reported.
        scaling: how raw values became x.
        binarize: what ``--binarize`` was.
        labels: names of the codes in y, or None.

    """

    name: str
    shape: tuple[int, ...]
    train: Split
    valid: Split
    test: Split
    scaling: Scaling
    binarize: Binarize
    labels: tuple[str, ...] | None

    @property
    def splits(self) -> dict[str, Split]:
        """The parts by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def covariates(self) -> int:
        """How many numbers of y a program may be conditional on: classes, or covariates; or 0."""
        if "y" not in self.train.rest_names:
            return 0
        if self.labels is not None:
            return len(self.labels)
        y = self.train.take(torch.zeros(1, dtype=torch.int64))["y"]
        return y[0].numel() if y.is_floating_point() else 0

    def describe(self) -> str:
        """Return one line for people."""
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        labels = "" if self.labels is None else f"; {len(self.labels)} labels"
        return (
            f"{self.name}: {sizes}, each {self.shape}; {self.scaling.sentence()}"
            f"{_BINARIZED[self.binarize]}{labels}"
        )
