"""Errors and warnings for users."""

import difflib
from collections.abc import Iterable

GIVE_LABELS = "give labels (y of an .npz, `label` of a table, sub-folders of images)"
"""The way out if a program needs y."""


class InputError(ValueError):
    """Invalid input, in one sentence: the value, where it was given, and the way out.

    All bad input in this package raises it. The commands print the sentence and exit with code 2;
    in Python it is a ``ValueError``. Any other exception is a bug, and keeps its traceback.

    Parameters are in backquotes, which the commands turn into flags.
    """


class FitWarning(UserWarning):
    """A problem of a fit that affects its results, such as divergence.

    `ppvae.load` warns with it, and the commands print it.
    """


def check_at_least(least: float, **values: float) -> None:
    """Refuse the first of ``values``, named by parameter, that is below ``least``.

    Raises:
        InputError: with its name and its value.
    """
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


def nearest(word: str, words: Iterable[str]) -> str:
    """The nearest of ``words`` in brackets, or one that contains it, or nothing if none is near."""
    by_lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    close = close or [w for w in by_lower if len(word) > 3 and word.lower() in w]
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""
