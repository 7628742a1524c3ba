"""Values of settings: types for editors, and how values are read and checked."""

import csv
import io
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, override, runtime_checkable

from ppvae.errors import nearest

Binarize = Literal["none", "dynamic", "static", "threshold"]
Scale = Literal["none", "unit", "standardize"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "64", "bf16-mixed", "auto"]
Compile = Literal["auto", "on", "off"]
Kind = Literal["real", "count", "category"]
Switch = Literal["on", "off"]
Figures = Literal["both", "png", "svg"]

Part = str | Mapping[str, Any] | Callable[..., Any] | None
"""A part of the programs: a name, a mapping of YAML, a class, a ``partial`` of a class with
arguments by name, or a program itself."""


class Dataset(Protocol):
    """Data in memory, such as `ppvae.data.from_arrays` makes."""

    @property
    def name(self) -> str:
        """Its name."""


class Rows(Protocol):
    """Rows in memory, such as `ppvae.data.as_split` makes."""

    def __len__(self) -> int: ...

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Names of the other tensors than x."""


class Opened(Protocol):
    """An open run, as returned by `ppvae.load`."""

    @property
    def path(self) -> Path:
        """Its directory."""


@runtime_checkable
class Tracker(Protocol):
    """A receiver of the metrics of a fit, such as a run of Weights & Biases."""

    def log(self, metrics: Mapping[str, float], step: int, /) -> object:
        """Log metrics by name, after ``step`` steps."""


@runtime_checkable
class MetricsLogger(Protocol):
    """A logger of Lightning Fabric, or a similar one."""

    def log_metrics(self, metrics: Mapping[str, float], step: int, /) -> object:
        """Log metrics by name, after ``step`` steps."""


TRACKERS = ("csv", "tensorboard")
"""Loggers of Lightning Fabric, by name."""

QUESTIONS = (
    "bound", "evidence", "baselines", "gap", "trust", "model", "training", "estimator", "deficits",
)  # fmt: skip
"""Questions of `ppvae.diagnose`, in this order: folders of `ppvae.diagnostics`."""

SEEDS = 2**32
"""Upper limit of seeds of random generators."""

_LEAST, _MOST = 1e-37, 1e37
"""The smallest and the largest positive number that single precision can invert."""


class Values:
    """Possible values of a setting: read from a command line or YAML, and checked.

    Attributes:
        metavar: name of a value in ``--help``.
    """

    metavar: str = "VALUE"

    def read(self, value: Any) -> Any:
        """The value of a word of a command line, or of YAML."""
        return value

    def spelled(self, value: Any) -> list[str]:
        """The words of a value on a command line: one for each repetition of its flag."""
        return list(map(str, value)) if isinstance(value, list) else [str(value)]

    def checked(self, value: Any) -> Any:
        """The value in Python's types.

        Raises:
            ValueError: with what it must be.
        """
        return value


@dataclass(frozen=True)
class Whole(Values):
    """Integers of a range."""

    least: int = 0
    most: float = math.inf
    metavar = "N"

    def read(self, value: Any) -> Any:
        return _number(value)

    def checked(self, value: Any) -> int:
        limit = f"at least {self.least}"
        if self.most < math.inf:
            limit = f"from {self.least} to {self.most}"
        if self.most == SEEDS - 1:
            limit += " (2**32 - 1)"
        try:
            number = operator.index(value)
        except TypeError:
            number = None
        if number is None or isinstance(value, bool):
            raise ValueError(f"a whole number, {limit}")
        if not self.least <= number <= self.most:
            raise ValueError(limit)
        return number


@dataclass(frozen=True)
class Number(Values):
    """Finite numbers above 0, or with ``zero`` also 0, in the range of single precision."""

    zero: bool = False
    metavar = "NUMBER"

    def read(self, value: Any) -> Any:
        return _number(value)

    def checked(self, value: Any) -> float:
        limit = "0 or more, and finite" if self.zero else "above 0 and finite"
        try:
            number = float(value) if not isinstance(value, (str, bool)) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None:
            raise ValueError(f"a number {limit}")
        if not (_LEAST <= number <= _MOST or (self.zero and number == 0)):
            raise ValueError(limit)
        return number


class Word(Values):
    """One of the words of a ``Literal``."""

    def __init__(self, words: Any) -> None:
        self.words: tuple[str, ...] = get_args(words)
        self.metavar = "WORD"

    def read(self, value: Any) -> Any:
        # YAML reads on and off as Booleans, and 32 as a number.
        if isinstance(value, bool) and "on" in self.words:
            return "on" if value else "off"
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def checked(self, value: Any) -> str:
        word = self.read(value)
        if not isinstance(word, str) or word not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}{nearest(str(value), self.words)}")
        return word


@dataclass(frozen=True)
class Instance(Values):
    """Values of a type."""

    kinds: type | tuple[type, ...]
    must: str
    metavar: str = "VALUE"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, self.kinds) or value == "":
            raise ValueError(self.must)
        return value


class Several(Values):
    """Any number of words, from ``words`` if given; a single one also by itself."""

    metavar = "NAME"

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = words

    def checked(self, value: Any) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise ValueError("a name or a list of names")
        for each in names:
            if self.words and each not in self.words:
                among = ", ".join(self.words)
                raise ValueError(f"names among {among}{nearest(each, self.words)}")
        return tuple(names)


class Names(Values):
    """Comma-separated names, or a list of them."""

    metavar = "NAME,..."

    @override
    def spelled(self, value: Any) -> list[str]:
        return [_joined([value] if isinstance(value, str) else value)]

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]

    def checked(self, value: Any) -> tuple[str, ...]:
        names = self.read(value)
        is_list = isinstance(names, Sequence) and not isinstance(names, str)
        if not is_list or not all(isinstance(name, str) and name for name in names):
            raise ValueError("comma-separated names of columns")
        if len(set(names)) < len(names):
            raise ValueError("different names")
        return tuple(names)


class Words(Values):
    """One word per name: ``year=category,age=real``, or a mapping."""

    metavar = "NAME=WORD,..."

    def __init__(self, words: Any) -> None:
        self.words: tuple[str, ...] = get_args(words)

    @override
    def spelled(self, value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        return [_joined([f"{name}={word}" for name, word in dict(value).items()])]

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.rpartition("=") for part in next(csv.reader([value]), [])]
        return {name.strip(): word.strip() for name, _, word in pairs}

    def checked(self, value: Any) -> dict[str, str]:
        words = self.read(value)
        if not isinstance(words, Mapping) or not all(isinstance(n, str) and n for n in words):
            raise ValueError(f"one word per column, as `name=word`: {', '.join(self.words)}")
        for word in words.values():
            if word not in self.words:
                raise ValueError(
                    f"words among {', '.join(self.words)}{nearest(str(word), self.words)}"
                )
        return dict(words)


class Size(Values):
    """Height and width in pixels: ``64``, ``64x48``, or a pair."""

    metavar = "HxW"

    @override
    def spelled(self, value: Any) -> list[str]:
        return ["x".join(map(str, value))]

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", value.strip())
        return value if match is None else [int(match[1]), int(match[2] or match[1])]

    def checked(self, value: Any) -> tuple[int, int]:
        sides = self.read(value)
        if type(sides) is int:
            sides = [sides, sides]
        is_pair = isinstance(sides, Sequence) and len(sides) == 2
        if not is_pair or not all(type(side) is int and side > 0 for side in sides):
            raise ValueError("a height and a width in pixels, as 64 or 64x48")
        return sides[0], sides[1]


class Source(Values):
    """A name or a path, or in Python an object."""

    metavar = "NAME"

    def read(self, value: Any) -> Any:
        if not isinstance(value, (str, type(None))):
            raise ValueError("a name or a path")
        return value

    def checked(self, value: Any) -> Any:
        if isinstance(value, str) and not value:
            raise ValueError("a name or a path")
        return value


class Sources(Values):
    """Names or paths, or in Python objects; in a command, words without a flag."""

    metavar = "NAME"

    def read(self, value: Any) -> Any:
        each = Source()
        return [each.read(one) for one in value] if isinstance(value, list) else each.read(value)

    def checked(self, value: Any) -> tuple[Any, ...]:
        names = [value] if isinstance(value, (str, Path)) else value
        if not isinstance(names, Sequence):
            raise ValueError("a list of names or paths")
        return tuple(Source().checked(each) for each in names)


class Tracking(Values):
    """A tracker by name, or in Python an object."""

    metavar = "NAME"

    def read(self, value: Any) -> Any:
        return self.checked(value) if isinstance(value, str) else Source().read(value)

    def checked(self, value: Any) -> Any:
        if value in TRACKERS or isinstance(value, (Tracker, MetricsLogger)):
            return value
        near = nearest(value, TRACKERS) if isinstance(value, str) else ""
        raise ValueError(f"{' or '.join(TRACKERS)}{near}, or any object with log(metrics, step)")


class Class(Values):
    """A class by name, with its arguments, or in Python a class or program."""

    metavar = "NAME"


def _joined(names: Sequence[str]) -> str:
    """Comma-separated names, quoted if they contain a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def _number(text: Any) -> Any:
    """The number that a word spells; else the value unchanged."""
    if not isinstance(text, str) or not text.isascii() or "_" in text:
        return text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return text


SEED = Whole(0, SEEDS - 1)
TEXT = Instance(str, "a word (in quotes, if it looks like a number)", "NAME")
PLACE = Instance((str, Path), "a path", "PATH")
SWITCH = Instance(bool, "true or false")
