"""Settings: fields of frozen dataclasses, with group, values, description and default.

Flags, ``--config``, ``--help``, the keyword arguments of the functions, the checks of plain values
and the settings in ``config.yaml`` are all made from these fields.
"""

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Self

from ppvae.errors import InputError, nearest
from ppvae.settings.values import SEED, Values

DATA, PROGRAMS, BOUND, TRAINING = "data", "programs", "bound", "training"
DRAWS, MACHINE, OUTPUT = "draws", "machine", "output"


@dataclass(frozen=True)
class Setting:
    """Metadata of a field in addition to name, type and default.

    Attributes:
        group: its heading in lists.
        values: its possible values.
        sentence: its description.
        unset: the meaning of its default ``None``.
        is_recorded: whether it is recorded in ``config.yaml``.
        is_for_people: whether it cannot be set by a file, which may come from someone else.
        may_change: whether a resumed fit may change it.
        is_for_python: whether it has a meaning in Python only, and so no flag.
        is_later: whether it is newer than the format of runs: an older ``config.yaml`` lacks it and
            means its default.
    """

    group: str
    values: Values
    sentence: str
    unset: str = ""
    is_recorded: bool = True
    is_for_people: bool = False
    may_change: bool = False
    is_for_python: bool = False
    is_later: bool = False


def setting[T](
    default: T, group: str, values: Values, sentence: str, unset: str = "", **more: bool
) -> T:
    """A field with metadata: see `Setting`."""
    about = Setting(group, values, sentence, unset, **more)
    found: T = field(default=default, metadata={"setting": about})
    return found


def again(of: "type[Checked]", name: str, **other: Any) -> Any:
    """Repeats a setting of other settings, with another default or other metadata."""
    each, about = settings_of(of)[name]
    default = other.pop("default", each.default)
    return field(default=default, metadata={"setting": replace(about, **other)})


@dataclass(frozen=True)
class Checked:
    """Settings that are checked when they are constructed.

    Raises:
        InputError: naming the setting, its value, and what it must be.
    """

    @classmethod
    def of_arguments(cls, *args: Any, **kwargs: Any) -> Self:
        """The settings given as arguments."""
        return cls(*args, **kwargs)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            about: Setting = each.metadata["setting"]
            try:
                object.__setattr__(self, each.name, about.values.checked(value))
            except ValueError as error:
                raise refusal(each.name, value, error) from None


def refusal(name: str, value: Any, must: object) -> InputError:
    """The error for an invalid setting."""
    try:
        shown = f"{value}" if isinstance(value, (int, float)) else repr(value)
    except ValueError:  # Python does not print so many digits
        shown = "a number of thousands of digits"
    if len(shown) > 100:
        shown = f"{shown[:100]}..."
    return InputError(f"`{name}` is {shown}; it must be {must}")


def settings_of(kind: type[Checked]) -> dict[str, tuple[Field[Any], Setting]]:
    """The settings of a dataclass, by name."""
    return {each.name: (each, each.metadata["setting"]) for each in fields(kind)}


def flagged(kind: type[Checked]) -> dict[str, tuple[Field[Any], Setting]]:
    """The settings of the command line and its files."""
    found = settings_of(kind).items()
    return {name: (each, about) for name, (each, about) in found if not about.is_for_python}


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse a seed that is invalid for random generators.

    Raises:
        InputError: for a seed that is negative or too large.
    """
    try:
        SEED.checked(seed)
    except ValueError as error:
        raise refusal(name, seed, error) from None


def takes[**P, S: Checked, R](
    settings: Callable[P, S],
) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Decorator that replaces the parameter ``settings`` of a function by its fields."""
    made: Callable[P, S] = getattr(settings, "of_arguments")  # noqa: B009  # a class of settings

    def decorate(function: Callable[[S], R]) -> Callable[P, R]:
        names = inspect.signature(settings).parameters

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs.keys() - names:
                raise TypeError(
                    f"{function.__name__} has no argument {name!r}{nearest(name, names)}"
                )
            return function(made(*args, **kwargs))

        described = inspect.signature(function).return_annotation
        signature = inspect.signature(settings).replace(return_annotation=described)
        vars(called)["__signature__"] = signature
        called.__doc__ = _documented(function.__doc__ or "", settings_of(settings))  # type: ignore[arg-type]  # a class of settings
        return called

    return decorate


def _documented(text: str, settings: Mapping[str, tuple[Field[Any], Setting]]) -> str:
    """A docstring with the settings as arguments, before the raised errors."""
    lines = [
        textwrap.fill(
            f"{name}: {told(*each)}", 100, initial_indent=" " * 4, subsequent_indent=" " * 8,
            break_on_hyphens=False, break_long_words=False,
        )
        for name, each in settings.items()
    ]  # fmt: skip
    # Python 3.13 removes the indentation, 3.12 does not.
    before, mark, after = inspect.cleandoc(text).partition("Raises:\n")
    arguments = "\n".join(["Args:", *lines])
    return f"{before.rstrip()}\n\n{arguments}\n\n{mark}{after}"


def told(each: Field[Any], about: Setting) -> str:
    """The description of a setting, with its default."""
    default = about.unset if each.default is None else each.default
    if default is MISSING or default is False or default == ():
        return about.sentence
    return f"{about.sentence.removesuffix('.')} (default: {default})."
