"""Log messages about compiling."""

import logging

_log = logging.getLogger(__name__)

_said: set[str] = set()


def note(what: str, error: Exception) -> None:
    """Log a sentence and its reason, once in a process.

    It is no warning, because a warning may be made an error, and here code is only slower.
    """
    if what not in _said:
        _said.add(what)
        _log.warning("note: %s: %s", what, in_a_line(error))


def in_a_line(error: Exception) -> str:
    """The message of an error, cut to a line or two."""
    return " ".join(str(error).split())[:300]
