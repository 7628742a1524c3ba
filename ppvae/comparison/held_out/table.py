"""A comparison of runs as a table, for the terminal and the page."""

from collections import Counter
from collections.abc import Sequence

from ppvae.comparison.held_out.grouping import UNSET
from ppvae.comparison.held_out.result import HeldOut, Row, RunComparison
from ppvae.comparison.held_out.sentence import figure
from ppvae.diagnostics.shared.wording import plus_minus

type Header = tuple[str, ...]
type Lines = list[tuple[str, ...]]

MANY = 3
"""Columns of one setting beyond which they share a line."""

HEADER = ("minus the best", "bound", "rate", "effective latents", "parameters", "time")
"""Columns after log p(x)."""

SHORT = ("minus best", "bound", "rate", "latents")
"""The first of them, for a terminal of 80 characters."""


def table(result: RunComparison, header: Sequence[str] = HEADER) -> tuple[Header, Lines]:
    """The header, and one line per row."""
    width = 2 + len(header)
    lines = [_line(row, is_best=row is result.best)[:width] for row in result.rows]
    return ("", result.evidence, *header), lines


def settings_table(result: RunComparison) -> tuple[Header, Lines]:
    """The header, and one line per setting in which rows differ.

    Settings of single columns of a table, such as ``likelihood.kinds.age``, share a line.
    """
    names = list(result.best.settings)
    stems = Counter(name.rpartition(".")[0] for name in names)
    lines: dict[str, list[list[str]]] = {}
    for name in names:
        stem, _, last = name.rpartition(".")
        is_many = bool(stem) and stems[stem] > MANY
        cells = lines.setdefault(f"{stem}: columns" if is_many else name, [[] for _ in result.rows])
        for cell, row in zip(cells, result.rows, strict=True):
            value = row.settings[name]
            if not is_many:
                cell.append(value)
            elif value != UNSET:
                cell.append(f"{last} {value}")
    header = ("", *(row.name for row in result.rows))
    return header, [
        (name, *(", ".join(cell) or UNSET for cell in cells)) for name, cells in lines.items()
    ]


def _line(row: Row, *, is_best: bool) -> tuple[str, ...]:
    latents = row.mean("effective_latents")
    return (
        row.name,
        figure(row.log_p),
        "best" if is_best else _difference(row.difference),
        f"{row.mean('elbo') or 0:,.2f}",
        f"{row.mean('rate') or 0:,.2f}",
        "-" if latents is None else f"{latents:.1f}",
        f"{row.mean('parameters') or 0:,.0f}",
        _time(row.mean("seconds") or 0.0),
    )


def _difference(value: HeldOut) -> str:
    return plus_minus(value.mean, value.error)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
