"""What a user is told when an input cannot be used."""

import difflib
from collections.abc import Iterable

GIVE_LABELS = "give labels (y of an .npz, `label` of a table, sub-folders of images)"
"""The way out where a program needs y."""


class InputError(ValueError):
    """One sentence for a person: what was given, where it was given, and the way out.

    Every refusal of bad input in this package is one of these. The commands print the sentence
    and leave with exit code 2; in Python it is the ``ValueError`` it looks like. Anything else
    that is raised is a defect, and keeps its traceback.

    A sentence names each parameter in backquotes, which the commands turn into flags.
    """


class FitWarning(UserWarning):
    """What is to be known of a fit before its figures are read: it diverged, say.

    `ppvae.load` gives it, and the commands print it.
    """


def check_at_least(least: float, **values: float) -> None:
    """Refuse the first of ``values``, named as the parameters are, that is below ``least``.

    Raises:
        InputError: with its name and its value.
    """
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


def nearest(word: str, words: Iterable[str]) -> str:
    """In brackets, the nearest of ``words``; nothing where none is near."""
    by_lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""
