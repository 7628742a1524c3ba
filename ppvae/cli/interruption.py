"""Ctrl-C in a command: exit code 130 and no traceback, from its first line to its last."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def leave_on_interrupt() -> None:
    """End the process at once by SIGINT: before and after its work there is nothing to put away.

    A command calls this before the imports that take seconds. A process that was started to ignore
    SIGINT (``nohup``, a background job) goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)


class Interrupts:
    """Handler of SIGINT that raises ``KeyboardInterrupt``, and remembers that it did.

    Args:
        is_command: whether the process is a command. In the middle of an import it then ends at
            once: an extension module that sees an exception there may abort, and a run is whole
            whenever its writer is killed.

    Attributes:
        received: whether there was an interrupt. What a library that is interrupted in the middle
            of an import raises may be of any kind.
    """

    def __init__(self, *, is_command: bool) -> None:
        self._is_command = is_command
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self.received = True
        if self._is_command and _is_importing(frame):
            _leave(number, frame)
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """SIGINT as ``KeyboardInterrupt`` while this context lasts, unless it is handled otherwise."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    handler = Interrupts(is_command=before is _leave)
    if not is_main or before not in (signal.default_int_handler, _leave):
        yield handler
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGINT, before)
