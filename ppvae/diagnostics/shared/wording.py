"""Formatted numbers and sentences."""

import math
import re
from collections.abc import Sequence
from typing import Any, Protocol


def plus_minus(value: float, error: float | None, digits: int = 2) -> str:
    """A number with its standard error, both without decimals if it is large."""
    if abs(value) >= LARGE:
        digits = 0
    text = f"{round(value, digits) + 0.0:,.{digits}f}"  # what rounds to zero has no sign
    return text if error is None or error != error else f"{text} +- {error:,.{digits}f}"


class Estimated(Protocol):
    """An object with a mean and a standard error."""

    @property
    def mean(self) -> float:
        """The mean."""

    @property
    def standard_error(self) -> float:
        """Its standard error."""


def with_error(estimate: Estimated, digits: int = 2) -> str:
    """A mean with its standard error."""
    return plus_minus(estimate.mean, estimate.standard_error, digits)


LARGE, HUGE = 1e4, 1e6
"""Numbers from `LARGE` on have no decimals; from `HUGE` on they have powers of ten."""

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimals(value: Any, digits: int = 2) -> str:
    """A number with a typographic minus sign; a dash if it is not a number.

    With ``digits`` it is a measurement, short however large it is; without, a count, in full.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "\N{EN DASH}"
    if digits and HUGE <= abs(value) < math.inf:
        mantissa, power = f"{value:.{digits}e}".split("e")
        text = f"{mantissa}\N{MULTIPLICATION SIGN}10{str(int(power)).translate(_SUPERSCRIPTS)}"
    else:
        text = f"{value:,.{0 if abs(value) >= LARGE else digits}f}"
    # A value that rounds to zero has no sign.
    text = re.sub(r"^-(0(?:\.0*)?)$", r"\1", text)
    return text.replace("-", "\N{MINUS SIGN}")


def as_sentence(clause: str) -> str:
    """A clause with a capital and a full stop."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(".") else f"{text}."


def is_left(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column of a table is aligned left: the first one, and sentences."""
    return column == 0 or any(re.search("[a-z]{3,} [a-z]", row[column]) for row in rows)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text, with two spaces between columns."""
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    lefts = [is_left(rows, column) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, lefts, strict=True)
        )
        for row in (header, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
