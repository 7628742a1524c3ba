"""Seconds spent on tracing and compiling in this process."""

import time
from contextlib import ContextDecorator


class Stopwatch(ContextDecorator):
    """A context, or a decorator of functions, that adds up the time spent in it.

    Attributes:
        seconds: total so far.
    """

    seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


compiling = Stopwatch()
