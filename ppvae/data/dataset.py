"""A data set as a program is fitted to it."""

from dataclasses import dataclass
from typing import final

from ppvae.data.columns import Column
from ppvae.data.options import Schema
from ppvae.data.ranges import value_range
from ppvae.data.scaling import Scaling
from ppvae.data.source import Source
from ppvae.data.split import Split
from ppvae.settings import Binarize

_BINARIZED: dict[Binarize, str] = {
    "none": "",
    "dynamic": ", binarized anew in every training batch",
    "static": ", binarized by one draw",
    "threshold": ", 1 from 0.5 on and else 0",
}

_NAMED = 8
"""Columns of a kind that are named at most."""


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
        binarize: how it was binarized.
        labels: names of the codes in y, or None.
        notes: how it was read, where that is not the only way.
        source: what it was made of, where it can be made anew.
        seed: of the division and of all noise that is drawn once.
        is_asked: somebody said how to scale it.
        size_factor: ``"total"``, a column, or ``"none"``: what scales the mean of counts.
    """

    name: str
    shape: tuple[int, ...]
    train: Split
    valid: Split
    test: Split
    scaling: Scaling
    binarize: Binarize
    labels: tuple[str, ...] | None
    notes: tuple[str, ...] = ()
    source: Source | None = None
    seed: int = 0
    is_asked: bool = False
    size_factor: str = "none"

    @property
    def splits(self) -> dict[str, Split]:
        """The parts by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def classes(self) -> int:
        """Number of classes where y is labels; 0 elsewhere."""
        return 0 if self.covariates or "y" not in self.train.extra_names else len(self.labels or ())

    @property
    def schema(self) -> Schema:
        """What other data must have to mean the same."""
        return Schema(labels=self.labels) if self.source is None else self.source.schema

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The columns of x, of a table."""
        return self.schema.columns

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the columns of x, where it was an array that had them, and no table."""
        return None if self.source is None or self.columns else self.source.train.names

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Names of the numbers that y holds, where they have names."""
        return tuple(name for each in self.schema.covariates for name in each.names)

    @property
    def covariates(self) -> int:
        """Number of covariates per datum; 0 without any."""
        if "y" not in self.train.extra_names:
            return 0
        y = self.train.beside["y"]
        return y[0].numel() if y.is_floating_point() else 0

    def fingerprint(self) -> dict[str, object] | None:
        """Return what tells these data from others, as `ppvae.data.fingerprint` has it."""
        return None if self.source is None else self.source.fingerprint().to_dict()

    @property
    def is_like_pixels(self) -> bool:
        """Whether the values are unscaled and run as grey levels of 8 bits do."""
        if self.scaling.kind not in ("counts", "as-is") or self.scaling.scale is not None:
            return False
        return self.source is not None and value_range(self.source.published()).is_like_pixels

    @property
    def _of_kinds(self) -> str:
        """The columns of each kind that a table has, where there are several."""
        by_kind: dict[str, list[str]] = {}
        for column in self.columns or ():
            by_kind.setdefault(column.kind, []).append(column.name)
        if len(by_kind) < 2:
            return ""
        words = {"real": "real", "count": "counts", "category": "categories"}
        told = [
            f"{len(names)} {words[kind]} ({', '.join(names[:_NAMED])}"
            f"{', ...' if len(names) > _NAMED else ''})"
            for kind, names in by_kind.items()
        ]
        return f" of {', '.join(told)}"

    def describe(self) -> str:
        """Return one line for people."""
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        labels = "" if self.labels is None else f"; {len(self.labels)} labels"
        told = [
            f"{each.name} ({len(each.levels)} levels)" if each.levels else f"{each.name} (a number)"
            for each in self.schema.covariates
        ]
        labels += f"; covariates {', '.join(told)}" if told else ""
        is_sized = "size_factor" in self.train.extra_names
        labels += f"; size factor {self.size_factor}" if is_sized else ""
        read = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.name}: {sizes}, each {self.shape}{self._of_kinds}; {self.scaling.sentence()}"
            f"{_BINARIZED[self.binarize]}{labels}{read}"
        )
