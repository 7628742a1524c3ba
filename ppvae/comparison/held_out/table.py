"""The settings of compared runs as a table."""

from collections import Counter

from ppvae.comparison.held_out.grouping import UNSET
from ppvae.comparison.held_out.result import RunComparison

type Header = tuple[str, ...]
type Lines = list[tuple[str, ...]]

MANY = 3
"""Columns of one setting beyond which they share a line."""


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
