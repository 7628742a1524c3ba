"""All tables in a row, each in its own process."""

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
    """Write ``NAME.csv`` and the output ``NAME.md`` of each table, then print all bars.

    Every table gets the ``flags``. A failure is noted in its ``NAME.md``.

    Returns:
        The number of tables that failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bars: list[Bar] = []
    failed = 0
    for table in tables:
        if table.briefly is None:
            continue
        out = folder / f"{table.name}.csv"
        out.unlink(missing_ok=True)  # of an earlier run
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
    """The bars in the CSV of a table; none if it was not written."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("bar")]
    return [
        Bar(row["bar"], float(row["at_most"]), float(row["is"]) if row["is"] else None)
        for row in rows
    ]
