"""Formatted numbers and sentences."""

import re
from typing import Any, Protocol


def plus_minus(value: float, error: float | None, digits: int = 2) -> str:
    """A number with its standard error."""
    text = f"{value:,.{digits}f}"
    return text if error is None or error != error else f"{text} +- {error:.{digits}f}"


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


def decimals(value: Any, digits: int = 2) -> str:
    """A number with a typographic minus sign; a dash if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "\N{EN DASH}"
    text = f"{value:,.{digits}f}"
    # A value that rounds to zero has no sign.
    text = re.sub(r"^-(0(?:\.0*)?)$", r"\1", text)
    return text.replace("-", "\N{MINUS SIGN}")


def as_sentence(clause: str) -> str:
    """A clause with a capital and a full stop."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(".") else f"{text}."
