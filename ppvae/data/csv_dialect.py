"""The dialect of a text table, determined by counting.

A parser that guesses accepts any file. Here the separator is the one that splits the lines into
equally many fields, mostly numbers; anything that does not fit is refused, and the error names the
line.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, final

from ppvae.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
"""Separators of fields, the more usual first."""

# Number of lines used to determine separator and decimal mark.
_SAMPLE = 500

_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(\d+|\d*,\d+)(e[+-]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?\d{1,3}((\.\d{3})+,\d+|(,\d{3})+\.\d+|(,\d{3}){2,}|(\.\d{3}){2,})")


@final
@dataclass(frozen=True)
class Dialect:
    """The format of a text table.

    Args:
        separator: the separator of fields.
        decimal: the decimal mark.
        names: the columns.
        body: the text below the header.
        above: number of lines before the body.
        notes: unusual features of the format, for the user.
    """

    separator: str
    decimal: str
    names: tuple[str, ...]
    body: str
    above: int
    notes: tuple[str, ...]


def dialect(content: bytes, path: Path, words: Container[str] = ()) -> Dialect:
    """Determine the dialect of a table; columns in ``words`` do not decide the decimal mark.

    Raises:
        InputError: for a file that is not text, has no header, or has lines of different lengths.
    """
    text, notes = _decoded(content, path)
    lines = text.splitlines(keepends=True)
    declared = re.fullmatch(r'"?sep=(.)"?\s*', lines[0]) if lines else None  # Excel's own
    top = [place for place, line in enumerate(lines) if line.strip()][declared is not None :]
    comments = [place for place in top if lines[place].startswith("#")]
    # Comments precede the table; the last of them may be its header.
    first = next((place for place in top if place not in comments), None)
    if first is None:
        raise InputError(f"{path} holds no table: it has no lines, or only comments.")
    separator = declared[1] if declared else _separator(lines[first:])
    header, start = lines[first], first + 1
    last = max((place for place in comments if place < first), default=None)
    if last is not None and _is_header(lines[last][1:], header, separator):
        header, start = lines[last][1:], first
        notes.append("names from the comment above")
    elif last is not None:
        notes.append("comments above it skipped")
    names = [name.strip() for name in next(fields([header], separator))]
    rows = list(islice(filter(None, fields(lines[start:], separator)), _SAMPLE))
    _check_header(names, rows, path)
    decimal = _decimal(names, rows, separator, path, words)
    if _check_even(names, lines[start:], separator, start, path):
        names = names[:-1]
    _check_names(names, path)
    if separator != ",":
        notes.insert(0, f"{SEPARATORS.get(separator, repr(separator))} between fields")
    if decimal == ",":
        notes.append("decimal commas")
    return Dialect(separator, decimal, tuple(names), "".join(lines[start:]), start, tuple(notes))


def is_number(cell: str, decimal: str = ".") -> bool:
    """Return whether a cell is one number."""
    return (_POINT if decimal == "." else _COMMA).fullmatch(cell.strip()) is not None


def fields(lines: Iterable[str], separator: str) -> "Reader":
    """Return a reader of the fields of each line; a blank line has none."""
    if separator == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _decoded(content: bytes, path: Path) -> tuple[str, list[str]]:
    """Return the text, and its encoding if it is not UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16"), ["UTF-16"]
    if b"\0" in content:
        raise InputError(
            f"{path} holds zero bytes, as no text does (except UTF-16 without its mark): save "
            f"it as a table of text in UTF-8."
        )
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), ["Windows-1252"]


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that splits the lines evenly, and into numbers."""
    best, most = ",", 0.0
    sample = [line for line in lines[:_SAMPLE] if line.strip()]
    for separator in SEPARATORS:
        rows = list(fields(sample, separator))
        ((count, often),) = Counter(map(len, rows)).most_common(1)
        cells = [cell for row in rows[1:] or rows for cell in row]
        good = sum(_is_any(cell) for cell in cells) / len(cells)
        # A small weight for words, which are fields too.
        score = often / len(rows) * (0.01 + good)
        if count > 1 and score > most:
            best, most = separator, score
    return best


def _is_header(comment: str, first: str, separator: str) -> bool:
    """Return whether a comment names the numbers in the line below it."""
    names, cells = (next(fields([line.strip()], separator), []) for line in (comment, first))
    return len(names) == len(cells) and any(
        _is_any(cell) and not _is_any(name) for name, cell in zip(names, cells, strict=True)
    )


def _check_header(names: list[str], rows: list[list[str]], path: Path) -> None:
    """Refuse a first line with numbers wherever the lines below have them."""
    if names == [str(place) for place in range(len(names))]:
        return  # as pandas names the columns of a nameless table
    columns = [
        [row[place].strip() for row in rows if place < len(row)] for place in range(len(names))
    ]
    pairs = list(zip(names, columns, strict=True))
    numbers = [name for name, cells in pairs if any(map(_is_any, cells)) or _is_any(name)]
    if not numbers or not all(map(_is_any, numbers)):
        return
    # Years next to a column of words are a header, if its name is not one of the words.
    words = [(name, cells) for name, cells in pairs if name not in numbers]
    years = [int(name) for name in numbers if name.isdigit()]
    is_series = len(years) == len(numbers) and all(b - a == 1 for a, b in pairwise(years))
    if words and is_series and not any(name in cells for name, cells in words):
        return
    raise InputError(
        f"{path} has no header: its first line holds numbers as those below it do "
        f"({', '.join(names[:3])}, ...); write the names of the columns above it."
    )


def _decimal(
    names: list[str], rows: list[list[str]], separator: str, path: Path, words: Container[str]
) -> str:
    """Return the decimal mark; refuse mixed marks, and an ambiguous comma."""
    skipped = {place for place, name in enumerate(names) if name in words}
    cells = [
        (cell.strip(), place)
        for row in rows
        for place, cell in enumerate(row)
        if place not in skipped
    ]
    grouped = [(cell, place) for cell, place in cells if _GROUPED.fullmatch(cell)]
    commas = [(cell, place) for cell, place in cells if "," in cell and is_number(cell, ",")]
    points = [cell for cell, _ in cells if "." in cell and is_number(cell)]
    odd = grouped or (commas if separator == "," else [])
    if odd:
        cell, place = odd[0]
        column = names[place] if place < len(names) else place + 1
        raise InputError(
            f"{path}: column {column} holds the number {cell!r}, with "
            f"{SEPARATORS.get(separator, repr(separator))} between fields: write it without "
            f"thousands separators, and with a decimal point, or give `drop={[column]!r}`."
        )
    if commas and points:
        raise InputError(
            f"{path} holds both {commas[0][0]!r} and {points[0]!r}, a decimal comma and a decimal "
            f"point: write all numbers in the same way."
        )
    return "," if commas else "."


def _check_even(names: list[str], lines: list[str], separator: str, above: int, path: Path) -> bool:
    """Refuse a line whose fields do not match the names; return whether the last column is empty.

    Separators at the end of each line make an empty column, with or without one in the header.
    """
    count = len(names)
    is_empty = count > 1 and not names[-1]
    reader = fields(lines, separator)
    for row in reader:
        is_ended = len(row) == count + 1 and not row[-1].strip()
        if row and len(row) != count and not is_ended:
            raise InputError(
                f"{path}: line {above + reader.line_num} has {len(row)} fields "
                f"({', '.join(row)[:60]}), and the header {count} ({', '.join(names)[:60]}), with "
                f"{SEPARATORS.get(separator, repr(separator))} between fields: write a field for "
                f"each name (a title above the header, row names without a name, a flag at the "
                f"end, or a decimal comma makes such lines)."
            )
        is_empty = is_empty and not "".join(row[count - 1 :]).strip()
    return is_empty


def _check_names(names: list[str], path: Path) -> None:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if not name:
            raise InputError(
                f"{path}: column {place + 1} has no name, such as a row index written by pandas; "
                f"name it, or leave it out with to_csv(index=False)."
            )
        if name in seen:
            raise InputError(f"{path} has two columns named {name}: give them different names.")
        seen.add(name)


def _is_any(cell: str) -> bool:
    return is_number(cell) or is_number(cell, ",")
