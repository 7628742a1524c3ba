"""Silence: contexts and decorators that suppress output."""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ppvae.cli.terminal import console, progress_console
from ppvae.settings import Settings


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which nothing is printed and no warnings are shown."""
    consoles = console, progress_console
    before = [each.quiet for each in consoles]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in consoles:
            each.quiet = True
        try:
            yield
        finally:
            for each, was in zip(consoles, before, strict=True):
                each.quiet = was


def quiet_where_asked[R](function: Callable[[Settings], R]) -> Callable[[Settings], R]:
    """Decorator: print nothing if ``settings.quiet``."""

    @functools.wraps(function)
    def wrapped(settings: Settings) -> R:
        if not settings.quiet:
            return function(settings)
        with quiet():
            return function(settings)

    return wrapped
