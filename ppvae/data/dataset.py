"""A data set, ready for fitting."""

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
    "dynamic": ", binarized again in every training batch",
    "static": ", binarized by one draw",
    "threshold": ", 1 from 0.5 on and else 0",
}

_NAMED = 8
"""Largest number of columns of one kind that are listed."""


@final
@dataclass(frozen=True, eq=False)
class Data:
    """The three parts of a data set, and how they were read.

    Args:
        name: a known name, or the name of the file or folder without its suffix.
        shape: that of one datum, (channels, height, width) or (columns,).
        train: the training rows.
        valid: the rows that select the best step and stop training.
        test: the rows of reported figures.
        scaling: the scaling of raw values to x.
        binarize: the binarization.
        labels: names of the codes in y, or None.
        notes: how it was read, where there are other ways.
        source: the raw data, if they can be scaled again.
        seed: of the split and of all fixed noise.
        is_asked: whether the user chose the scaling.
        size_factor: ``"total"``, a column, or ``"none"``: the factor of the mean of counts.
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
        """Number of classes if y is labels, else 0."""
        return 0 if self.covariates or "y" not in self.train.extra_names else len(self.labels or ())

    @property
    def schema(self) -> Schema:
        """The requirements for other data with the same meaning."""
        return Schema(labels=self.labels) if self.source is None else self.source.schema

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The columns of x, if it is a table."""
        return self.schema.columns

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the columns of x, if it was an array with names instead of a table."""
        return None if self.source is None or self.columns else self.source.train.names

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Names of the numbers in y, if they have names."""
        return tuple(name for each in self.schema.covariates for name in each.names)

    @property
    def covariates(self) -> int:
        """Number of covariates per datum; 0 without any."""
        if "y" not in self.train.extra_names:
            return 0
        y = self.train.beside["y"]
        return y[0].numel() if y.is_floating_point() else 0

    def fingerprint(self) -> dict[str, object] | None:
        """Return the fingerprint of these data, see `ppvae.data.fingerprint`."""
        return None if self.source is None else self.source.fingerprint().to_dict()

    @property
    def is_like_pixels(self) -> bool:
        """Whether the values are unscaled and in the range of 8-bit grey levels."""
        if self.scaling.kind not in ("counts", "as-is") or self.scaling.scale is not None:
            return False
        return self.source is not None and value_range(self.source.published()).is_like_pixels

    @property
    def _of_kinds(self) -> str:
        """The columns of each kind, if a table has several kinds."""
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
