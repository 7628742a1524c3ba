"""SIGINT and SIGTERM: the first signal asks a fit to stop, the second interrupts it."""

import signal
import threading
from types import FrameType
from typing import Any


class Signals:
    """Context manager that records the first signal; the second one interrupts.

    Outside the main thread no handler can be set, so nothing is recorded.

    Attributes:
        number: number of the received signal; 0 before.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def received(self) -> bool:
        """Whether a signal was received."""
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
