"""``metrics.csv``: one row per epoch and split.

Rows are appended. Each checkpoint records length and digest of the file: damage is detected, and
what a killed process wrote after the checkpoint is cut off.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ppvae.errors import InputError
from ppvae.run.store import ReadError, append_bytes, read_bytes, write_bytes

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

NAME = "metrics.csv"

COLUMNS = (
    "epoch", "step", "seconds", "split", "elbo", "reconstruction", "kl", "objective", "beta", "lr",
    "active_units", "alarm",
)  # fmt: skip
"""Columns of ``metrics.csv``: nats per datum, empty cells for missing values. For held-out rows,
``active_units`` counts active latent dimensions, and ``alarm`` is a sentence if a posterior has
collapsed.
"""

EMPTY = (",".join(COLUMNS) + "\n").encode()
"""A table without rows."""

_WORDS = frozenset({"split", "alarm"})
"""Columns with text; the others have numbers."""


class Seal(NamedTuple):
    """The table as it was at a checkpoint.

    Attributes:
        size: its length in bytes.
        sha256: its digest.
    """

    size: int
    sha256: str


class Metrics:
    """The table of one run.

    Args:
        run: its directory.
    """

    def __init__(self, run: Path) -> None:
        self._file = run / NAME
        self._digest: Any = None  # of the whole file, once this process has written to it
        self._size = 0

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows; they are on the disk when this returns."""
        self.seal()
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        for row in rows:
            writer.writerow({key: "" if row[key] is None else row[key] for key in COLUMNS})
        data = text.getvalue().encode()
        append_bytes(self._file, data)
        self._digest.update(data)
        self._size += len(data)

    def seal(self) -> Seal:
        """The seal of the current table, for a checkpoint."""
        if self._digest is None:
            data = read_bytes(self._file)
            self._digest, self._size = hashlib.sha256(data), len(data)
        return Seal(self._size, self._digest.hexdigest())

    def read(self, seal: Seal) -> list[dict[str, Any]]:
        """The rows, numbers as numbers and empty cells as ``None``.

        Raises:
            InputError: if the rows up to the checkpoint were changed.
        """
        sealed, more = self._parted(seal)
        try:
            header, *lines = sealed.decode().splitlines()
            if header.split(",") != list(COLUMNS):
                raise ValueError
            rows = list(_rows(lines))
        except ValueError as error:
            raise InputError(f"{self._file} is not a table of the columns {COLUMNS}") from error
        # After the last checkpoint a killed process may have left half a row.
        whole, _, _ = more.rpartition(b"\n")
        try:
            for row in _rows(whole.decode(errors="replace").splitlines()):
                rows.append(row)  # noqa: PERF402  # what was read before a bad row stays
        except ValueError:
            pass
        return rows

    def verify(self, seal: Seal) -> None:
        """Refuse a table whose rows up to a checkpoint were changed.

        Raises:
            InputError: if they were.
        """
        self._parted(seal)

    def cut(self, seal: Seal) -> None:
        """Remove rows written after a checkpoint."""
        sealed, more = self._parted(seal)
        if more:
            write_bytes(self._file, sealed)
        self._digest = None

    def _parted(self, seal: Seal) -> tuple[bytes, bytes]:
        data = read_bytes(self._file)
        sealed, more = data[: seal.size], data[seal.size :]
        if len(sealed) < seal.size or hashlib.sha256(sealed).hexdigest() != seal.sha256:
            raise ReadError(
                f"{self._file} was damaged: its first {seal.size} bytes are not those that the fit "
                "wrote"
            )
        return sealed, more


def as_frame(rows: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """Rows as a table, with integers kept and empty cells as missing values."""
    import pandas as pd

    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    of = {"epoch": "int64", "step": "int64", "active_units": "Int64"}
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype="str" if name in _WORDS else of.get(name, "float64"))
            for name, values in columns.items()
        }
    )


def _rows(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for cells in csv.reader(lines, strict=True):
        yield {key: _cell(key, cell) for key, cell in zip(COLUMNS, cells, strict=True)}


def _cell(column: str, text: str) -> int | float | str | None:
    if text == "":
        return None
    if column in _WORDS:
        return text
    return int(text) if column in ("epoch", "step", "active_units") else float(text)
