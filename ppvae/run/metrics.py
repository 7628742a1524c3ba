"""``metrics.csv``: a row for each epoch and split."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppvae.store import write_text

__all__ = ["COLUMNS", "append", "create", "read", "rewind"]


NAME = "metrics.csv"

COLUMNS = (
    "epoch", "step", "seconds", "split", "elbo", "reconstruction", "kl", "objective", "beta", "lr",
    "active_units", "alarm",
)  # fmt: skip
"""Columns of ``metrics.csv``: nats per datum, an empty cell where there is no such figure. Of the
held-out rows, ``active_units`` counts latent dimensions in use, and ``alarm`` says in words that a
posterior has collapsed."""


_WORDS = frozenset({"split", "alarm"})
"""Columns that hold words; the others hold numbers."""


def _cell(column: str, text: str) -> int | float | str | None:
    if text == "":
        return None
    if column in _WORDS:
        return text
    return int(text) if column in ("epoch", "step", "active_units") else float(text)


def create(folder: Path) -> None:
    """An empty table."""
    write_text(folder / NAME, ",".join(COLUMNS) + "\n")


def append(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows; they are on the disk when this returns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    for row in rows:
        writer.writerow({key: "" if row[key] is None else row[key] for key in COLUMNS})
    with (folder / NAME).open("a") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows, numbers as numbers and empty cells as ``None``.

    Columns that an older run did not write yet are as good as empty.
    """
    with (folder / NAME).open(newline="") as file:
        reader = csv.DictReader(file)
        rows, known = list(reader), set(reader.fieldnames or ())
    whole = [row for row in rows if all(row[key] is not None for key in known)]
    return [{key: _cell(key, row.get(key) or "") for key in COLUMNS} for row in whole]


def rewind(folder: Path, step: int) -> None:
    """Drop the rows that were written after ``step``."""
    rows = [row for row in read(folder) if row["step"] <= step]
    create(folder)
    append(folder, rows)
