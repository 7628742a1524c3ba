"""SIGINT and SIGTERM: the first asks a fit to stop, the second interrupts it."""

import signal
import threading
from types import FrameType
from typing import Any


class Signals:
    """While this context lasts, the first signal is noted and the second interrupts.

    Outside the main thread no handler can be set, and it notes nothing.

    Attributes:
        number: that of the signal that was received; 0 before.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def received(self) -> bool:
        """Whether a signal has asked to stop."""
        return self.number != 0

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received():
            raise KeyboardInterrupt
        self.number = number
