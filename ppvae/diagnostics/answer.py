"""Answers to questions: measurements, and how they are shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import Estimated, aligned
from ppvae.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 0.05
"""Minimum deficit, in nats per datum."""

ERRORS = 2.0
"""Minimum deficit, in standard errors."""

Row = tuple[str, str, str]
"""A row of a table: what was measured, its value, and a note."""


def is_noise(nats: float, error: float | None) -> bool:
    """Whether a number of nats is within noise, or its error is NaN; an error of ``None`` is 0."""
    return not nats > (0.0 if error is None else ERRORS * error)


def is_significant(nats: float, error: float | None) -> bool:
    """Whether a number of nats is large enough to matter, and above noise."""
    return nats > LEAST and not is_noise(nats, error)


@dataclass(frozen=True)
class Deficit:
    """Nats lost in one part of a fit.

    Deficits do not add up: two parts may gain the same nats, or only together.

    Attributes:
        part: the part.
        nats: its size per datum, by which deficits are ranked, in nats of the bound that the fit
            maximized.
        error: the standard error, if there is one.
        remedy: what to change.
        held: the gain of another part with the others held fixed; ``None`` if unknown.
        along: its gain with all parts trained jointly, which is then ``nats``; ``None`` if not
            trained.
        log_p: its gain in log p(x); ``None`` for a part that does not affect log p(x).
    """

    part: str
    nats: float
    error: float | None
    remedy: str
    held: Estimate | None = None
    along: Estimate | None = None
    log_p: Estimate | None = None

    @property
    def is_significant(self) -> bool:
        """Whether it is large enough to matter, and above noise."""
        return is_significant(self.nats, self.error)


@dataclass(frozen=True)
class Picture:
    """A figure of an answer.

    Attributes:
        name: name of its file, without the suffix.
        alt: description in words.
        draw: function that draws it.
    """

    name: str
    alt: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True)
class Answer(ABC):
    """The answer to one question.

    Attributes:
        refusals: reasons of what could not be measured, by part.
    """

    refusals: Mapping[str, str]

    def __repr__(self) -> str:
        table = [aligned(("", "value", ""), self.rows)] if self.rows else []
        refused = [f"note: {part}: {why}" for part, why in self.refusals.items()]
        return "\n".join([self.question, *table, *refused])

    @property
    @abstractmethod
    def question(self) -> str:
        """The question."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Any]:
        """Values for ``diagnostics.json``, under the same keys for every run."""

    @property
    @abstractmethod
    def rows(self) -> tuple[Row, ...]:
        """The same as rows of a table."""

    @property
    @abstractmethod
    def pictures(self) -> tuple[Picture, ...]:
        """Figures."""

    @property
    @abstractmethod
    def deficits(self) -> tuple[Deficit, ...]:
        """Deficits, significant or not."""

    @abstractmethod
    def sentences(self, answers: "Iterable[Answer]", /) -> tuple[str, ...]:
        """Sentences for the verdict, given the ``answers`` to all questions asked."""


def first[A: Answer](answers: Iterable[Answer], kind: type[A]) -> A | None:
    """The answer of a type, if its question was asked."""
    return next((answer for answer in answers if isinstance(answer, kind)), None)


class Attempts:
    """Measurements that may be impossible for some programs.

    Attributes:
        refusals: reasons of those that were not possible, by part.
    """

    def __init__(self) -> None:
        self.refusals: dict[str, str] = {}

    def __call__[T](self, part: str, measure: Callable[[], T]) -> T | None:
        """Result of ``measure``; ``None`` if it raises an `InputError`, which is kept."""
        try:
            return measure()
        except InputError as error:
            self.refusals[part] = str(error)
            return None


def metric(value: Estimated) -> dict[str, float]:
    """A number with its standard error, for ``diagnostics.json``."""
    return {"value": value.mean, "standard_error": value.standard_error}
