"""An answer: its figures, its rows in a table, its pictures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ppvae.errors import InputError

__all__ = ["Answers", "Finding", "Row", "plus_minus"]

Row = tuple[str, str, str]
"""A figure's name, its value, and what a reader should know of it."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        question: what was asked.
        results: what `ppvae.diagnostics` returned, by name, for the verdict and for Python.
        figures: the same as plain numbers and words, for ``diagnostics.json``.
        rows: the same as rows of a table.
        pictures: functions that draw, by the name of the file.
        refusals: what could not be answered, and why.
    """

    question: str
    results: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    pictures: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)


class Answers:
    """A finding while it is being made.

    Args:
        question: what is asked.
    """

    def __init__(self, question: str) -> None:
        self._question = question
        self.results: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}
        self.rows: list[Row] = []
        self.pictures: dict[str, Callable[[], Any]] = {}
        self.refusals: dict[str, str] = {}

    def result(self, name: str, value: Any) -> None:
        """Keep what a diagnostic returned."""
        self.results[name] = value

    def figure(self, name: str, value: float, error: float | None = None) -> None:
        """Keep a number, and its standard error."""
        self.figures[name] = value if error is None else {"value": value, "standard_error": error}

    def row(
        self, name: str, value: float, error: float | None = None, note: str = "", digits: int = 2
    ) -> None:
        """Keep a row of the table."""
        self.rows.append((name, plus_minus(value, error, digits), note))

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Note why something has no answer for these programs, and go on with what has."""
        try:
            yield
        except InputError as error:
            self.refusals[what] = str(error)

    def finding(self) -> Finding:
        """All that was found."""
        return Finding(
            self._question, self.results, self.figures, tuple(self.rows), self.pictures,
            self.refusals,
        )  # fmt: skip


def plus_minus(value: float, error: float | None, digits: int = 2) -> str:
    """A figure with its standard error."""
    text = f"{value:,.{digits}f}"
    return text if error is None or error != error else f"{text} +- {error:.{digits}f}"
