"""Output of tables: Markdown on the terminal, and CSV."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .bars import Bar
from .machine import machine
from .plan import Plan

__all__ = ["figure", "publish", "say", "show", "show_bars", "under_way"]

_console = Console(highlight=False, soft_wrap=True, width=500)  # a row is never broken
_progress = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """Print a sentence, without markup."""
    _console.print(sentence, markup=False)


def figure(value: float | None, digits: int = 2) -> str:
    """A number in a table; a dash for None or NaN."""
    return "-" if value is None or value != value else f"{value:,.{digits}f}"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns are aligned to the right, those without a name to the left."""
    table = Table(title=title, box=box.MARKDOWN, title_justify="left")
    for name in header:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    _console.print(table)


def show_bars(bars: Iterable[Bar]) -> None:
    """Print each bar with its value and whether it is met."""
    rows = [(bar.what, figure(bar.most), figure(bar.reached), bar.verdict) for bar in bars]
    show("bars", ("", "at most", "is", ""), rows)


def publish(
    plan: Plan,
    rows: Iterable[Mapping[str, Any]],
    bars: Sequence[Bar] = (),
    *,
    versions: Mapping[str, str],
    threads: Iterable[int] = (),
) -> None:
    """Print the bars and the machine; write rows and bars to one CSV.

    A bar is a row with its own columns ``bar``, ``at_most``, ``is`` and ``verdict``.
    """
    if bars:
        show_bars(bars)
    taken = {
        "machine": machine(plan.device, threads),
        "load": f"{plan.load:.1f} cores busy at the start",
        "versions": ", ".join(f"{library} {number}" for library, number in versions.items()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    for name, value in taken.items():
        say(f"{name}: {value}")
    of_bars = [
        {"bar": bar.what, "at_most": bar.most, "is": bar.reached, "verdict": bar.verdict}
        for bar in bars
    ]
    _write(plan.out, [row | taken for row in [*map(dict, rows), *of_bars]])
    say(f"written to {plan.out}")


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, with a column for each key of any row."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def under_way() -> Iterator[Callable[[str], None]]:
    """A status line on the terminal; yields the function that changes it."""
    with _progress.status("") as status:
        yield status.update
