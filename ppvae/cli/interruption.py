"""Ctrl-C in a command: exit code 130 and no traceback, from start to end."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def leave_on_interrupt() -> None:
    """Let SIGINT end the process at once: before and after its work there is nothing to clean up.

    A command calls this before the slow imports. A process that was started to ignore SIGINT
    (``nohup``, a background job) still ignores it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)


class Interrupts:
    """Handler of SIGINT that raises ``KeyboardInterrupt`` and records it.

    Args:
        is_command: whether the process is a command. Such a process ends at once when interrupted
            in the middle of an import: an extension module may abort on an exception there, and a
            run stays valid even if its writer is killed.

    Attributes:
        received: whether there was an interrupt. A library that is interrupted during an import may
            raise any exception.
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
    """Raise SIGINT as ``KeyboardInterrupt`` in this context, unless another handler is set."""
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
