"""The answer to a question: what was measured, and how it is shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import Estimated
from ppvae.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 0.05
"""Nats per datum below which nothing is called a deficit."""

ERRORS = 2.0
"""Standard errors that a deficit must be above zero by."""

Row = tuple[str, str, str]
"""A row of a table: what was measured, its value, and a note."""


def is_significant(nats: float, error: float | None) -> bool:
    """Whether a number of nats is large enough to matter, and more than noise.

    A standard error that is not a number makes it insignificant; one that is ``None`` is zero.
    """
    noise = 0.0 if error is None else ERRORS * error
    return nats > LEAST and nats > noise


@dataclass(frozen=True)
class Deficit:
    """Nats that are lost in one part of a fit.

    Deficits do not add up: two parts may win the same nats, or only together.

    Attributes:
        part: the part.
        nats: how many, per datum: what deficits are ranked by. All are of the bound that the fit
            climbed.
        error: the standard error, where there is one.
        remedy: what to change.
        held: what another part wins alone, the others held; ``None`` where that is not known.
        along: what it wins with all parts trained along, which is then ``nats``; ``None`` where it
            was not trained.
        log_p: what log p(x) gains with it; ``None`` of a part that has no say in it.
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
        """Whether it is large enough to matter, and more than noise."""
        return is_significant(self.nats, self.error)


@dataclass(frozen=True)
class Picture:
    """A figure of an answer.

    Attributes:
        name: of its file, without the suffix.
        alt: what it shows, in words.
        draw: makes it.
    """

    name: str
    alt: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True)
class Answer(ABC):
    """The answer to one question.

    Attributes:
        refusals: what could not be measured, and why.
    """

    refusals: Mapping[str, str]

    @property
    @abstractmethod
    def question(self) -> str:
        """What was asked."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Any]:
        """Numbers and words for ``diagnostics.json``, under the same keys for every run."""

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
        """Nats that are lost, significant or not."""

    @abstractmethod
    def sentences(self, answers: "Iterable[Answer]", /) -> tuple[str, ...]:
        """What a person should know of it, given the ``answers`` to all questions asked."""


def first[A: Answer](answers: Iterable[Answer], kind: type[A]) -> A | None:
    """The answer of a kind, if its question was asked."""
    return next((answer for answer in answers if isinstance(answer, kind)), None)


class Attempts:
    """Measurements, each of which some programs do not allow.

    Attributes:
        refusals: which were not possible, and why.
    """

    def __init__(self) -> None:
        self.refusals: dict[str, str] = {}

    def __call__[T](self, part: str, measure: Callable[[], T]) -> T | None:
        """What ``measure`` returns; ``None`` where it raises an `InputError`, which is kept."""
        try:
            return measure()
        except InputError as error:
            self.refusals[part] = str(error)
            return None


def metric(value: Estimated) -> dict[str, float]:
    """A number with its standard error, for ``diagnostics.json``."""
    return {"value": value.mean, "standard_error": value.standard_error}
