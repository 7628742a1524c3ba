"""All tables in a row, each in a process of its own."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .bars import Bar
from .plan import Table
from .table import say, show_bars

__all__ = ["all_tables"]


def all_tables(tables: Sequence[Table], folder: Path, flags: Sequence[str] = ()) -> int:
    """Leave ``NAME.csv`` and, as it was printed, ``NAME.md`` of each table; then show all bars.

    ``flags`` are for each of them. One that fails is a note; gives how many failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bars: list[Bar] = []
    failed = 0
    for table in tables:
        if table.briefly is None:
            continue
        out = folder / f"{table.name}.csv"
        out.unlink(missing_ok=True)  # of an earlier time
        made = subprocess.run(
            [
                sys.executable, "-m", __package__, table.flag, *table.briefly, *flags,
                f"--out={out}",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        text = made.stdout
        if made.returncode:
            failed += 1
            text += f"failed with status {made.returncode}\n"
        (folder / f"{table.name}.md").write_text(text)
        say(text)
        bars += _bars(out)
    show_bars(bars)
    return failed


def _bars(path: Path) -> list[Bar]:
    """The bars that a table has written, if it got there."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("bar")]
    return [
        Bar(row["bar"], float(row["at_most"]), float(row["is"]) if row["is"] else None)
        for row in rows
    ]
