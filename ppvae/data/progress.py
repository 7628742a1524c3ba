"""Progress of passes over the data, shown by the caller."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Makes a progress bar from a description and a total; it yields a function that counts."""


def _silent(_what: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _: None)


_shown: ContextVar[Bar] = ContextVar("bar", default=_silent)


@contextmanager
def shown_by(bar: Bar) -> Iterator[None]:
    """Context in which passes over data are shown by ``bar``."""
    token = _shown.set(bar)
    try:
        yield
    finally:
        _shown.reset(token)


def passing(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A progress bar over ``total`` things; yields a function to count them."""
    return _shown.get()(what, total)
