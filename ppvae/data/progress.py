"""How far a pass over the data is, shown by whoever asked for it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Makes a progress bar, given what is done and of how many, that yields a function to count."""


def _silent(_what: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _: None)


_shown: ContextVar[Bar] = ContextVar("bar", default=_silent)


@contextmanager
def shown_by(bar: Bar) -> Iterator[None]:
    """Passes over data within this block are shown by ``bar``."""
    token = _shown.set(bar)
    try:
        yield
    finally:
        _shown.reset(token)


def passing(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar over ``total`` things; yields a function to count them."""
    return _shown.get()(what, total)
