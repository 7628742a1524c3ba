"""A table for the eye and the same as CSV."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import stdout
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["figure", "say", "show", "under_way", "write"]

_console = Console(highlight=False, soft_wrap=True, width=None if stdout.isatty() else 120)
_progress = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """Print a sentence as it is."""
    _console.print(sentence, markup=False)


def figure(value: float | None, digits: int = 2) -> str:
    """A figure for people; a dash where there is none."""
    return "-" if value is None or value != value else f"{value:,.{digits}f}"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; figures are read right, the first column and notes, without a name, left."""
    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False)
    for i, name in enumerate(header):
        is_note = i > 0 and not name  # the only column that may be broken into lines
        table.add_column(name, justify="right" if name else "left", no_wrap=not is_note)
    for row in rows:
        table.add_row(*map(escape, row))
    _console.print(table)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    say(f"written to {path}")


@contextmanager
def under_way() -> Iterator[Callable[[str], None]]:
    """One line on a terminal that says what is being done; yields what changes it."""
    with _progress.status("") as status:
        yield status.update
