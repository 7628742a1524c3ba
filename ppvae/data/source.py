"""The result of a reader: raw rows, with the parts in which they were published."""

import hashlib
from dataclasses import dataclass
from typing import final

import torch

from ppvae.data.columns import Column
from ppvae.data.covariates import Covariate
from ppvae.data.fingerprint import Fingerprint
from ppvae.data.options import Schema
from ppvae.data.rows import Rows
from ppvae.data.scaling import Scaling
from ppvae.errors import InputError
from ppvae.settings import Binarize

# Below this a tenth rounds to no row.
FEWEST = 10


@final
@dataclass(frozen=True, eq=False)
class Source:
    """Raw data and what the reader found about them.

    Args:
        where: the file or name with which errors begin.
        train: the training rows, or all rows if ``test`` is None.
        valid: rows published for validation, or None.
        test: rows published for testing, or None.
        held_out: number of training rows that become ``valid`` if it is None; a sixth by default.
        scaling: the meaning of the values, if the format states it; None: found from the values.
        top: the largest possible count, if known: it turns counts into intensities.
        labels: names of the label codes.
        columns: the columns of x, if it is a table.
        covariates: the columns from which y is made, if it is covariates with names.
        size_unit: the divisor of size factors.
        is_sequenced: whether rows are counts of cells, whose totals are the sequencing depth.
        is_object: whether the data were in memory, without a file or name.
        trains_on_valid: whether no rows are held out to select weights.
        notes: how it was read, where there are other ways, for the user.
        files: the fingerprint of the user's files, if it was read from such.
        binarize: the default binarization for a likelihood of zeros and ones.
    """

    where: str
    train: Rows
    valid: Rows | None = None
    test: Rows | None = None
    held_out: int | None = None
    scaling: Scaling | None = None
    top: float | None = None
    labels: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    covariates: tuple[Covariate, ...] = ()
    size_unit: float | None = None
    is_sequenced: bool = False
    is_object: bool = False
    trains_on_valid: bool = False
    notes: tuple[str, ...] = ()
    files: Fingerprint | None = None
    binarize: Binarize = "none"

    @property
    def schema(self) -> Schema:
        """The requirements for other data with the same meaning."""
        y = self.train.beside.get("y")
        is_decimal = y is not None and y.is_floating_point() and not self.covariates
        return Schema(self.columns, self.labels, self.covariates, self.size_unit, is_decimal)

    def published(self) -> dict[str, Rows]:
        """Return the rows as published, by part; undivided rows are all of train."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {part: rows for part, rows in parts.items() if rows is not None}

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of these data: of the files, or of the values."""
        if self.files is not None:
            return self.files
        total, of_x = hashlib.sha256(), hashlib.sha256()
        for part, rows in self.published().items():
            total.update(f"{part} {rows.digest()}".encode())
            of_x.update(f"{part} {rows.digest(beside=False)}".encode())
        return Fingerprint(total.hexdigest(), x=of_x.hexdigest())

    def parts(self, seed: int) -> dict[str, Rows]:
        """Divide the rows into train, valid and test, by ``seed`` where no parts are published.

        With ``trains_on_valid``, valid is a tenth of the training rows.

        Raises:
            InputError: for too few rows to divide.
        """
        if self.trains_on_valid:
            train, test = self.train, self.test
            if test is None:
                train, test = self._cut(seed, round(len(self.train) / 10))
            some = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
            valid = train.part(some[: max(1, round(len(train) / 10))])
            return {"train": train, "valid": valid, "test": test}
        if self.test is None:
            tenth = round(len(self.train) / 10)
            if self.valid is not None:
                train, test = self._cut(seed, tenth)
                return {"train": train, "valid": self.valid, "test": test}
            train, valid, test = self._cut(seed, tenth, tenth)
            return {"train": train, "valid": valid, "test": test}
        if self.valid is None:
            sixth = round(len(self.train) / 6)
            train, valid = self._cut(seed, sixth if self.held_out is None else self.held_out)
            return {"train": train, "valid": valid, "test": self.test}
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def _cut(self, seed: int, *sizes: int) -> list[Rows]:
        """Return the shuffled training rows in parts: the rest, then one part of each size."""
        if len(self.train) < FEWEST:
            raise InputError(
                f"{self.where} has {len(self.train)} rows, and at least {FEWEST} are needed to "
                f"split it into train, valid and test."
            )
        rest = len(self.train) - sum(sizes)
        shuffled = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return [self.train.part(index) for index in torch.split(shuffled, [rest, *sizes])]
