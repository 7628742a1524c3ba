"""Ranks of a fit: all end when the first one does.

Otherwise they would wait for a dead rank, and ranks would outlive a killed launcher. Ranks launched
by this process are its children, which it watches; others are on a `Lifeline`.
"""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ppvae.errors import InputError
from ppvae.training.lifeline import PATIENCE, Lifeline
from ppvae.training.world import LAUNCHER, is_first_here

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric

VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", LAUNCHER)
"""Environment variables of each process while there are ranks."""

GRACE = 5.0
"""Seconds for a process that waits for a dead rank to notice by itself and clean up."""

ECHO = 15.0
"""Seconds that other processes of a machine wait for the first to print the error and end them, as
they do not start at the same moment."""

STOPPED = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a rank that finished, or was asked to stop with the others."""


class Ranks:
    """The ranks that this process launched or belongs to; a singleton.

    Attributes:
        way_out: how to resume after the death of a rank.
    """

    def __init__(self) -> None:
        self.way_out = "start it again"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._working = False
        self._variables: dict[str, str] = {}
        self._line: Lifeline | None = None
        self._term_before: Any = None
        self._is_ending = False

    @property
    def _is_rank(self) -> bool:
        return os.environ.get(LAUNCHER, str(os.getpid())) != str(os.getpid())

    def watch(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Watch launched ranks in a thread."""
        self._processes = list(processes)
        self._variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def tie(self) -> None:
        """End this process, if it is a rank, together with its launcher."""
        if not self._is_rank:
            return
        if sys.platform == "linux":  # at once, by the kernel
            parent_death_signal = 1
            ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
        threading.Thread(target=_end_with_launcher, name="launcher", daemon=True).start()

    def connect(self, fabric: "Fabric") -> None:
        """Connect this process to all others of a fit, on all machines, until the work is done."""
        if self._line is not None:
            return
        self._line = Lifeline(fabric, lambda: self.way_out)
        threading.Thread(target=self._guard, args=(self._line,), name="guard", daemon=True).start()
        self._is_ending = False
        if threading.current_thread() is threading.main_thread():
            self._term_before = signal.signal(signal.SIGTERM, self._asked_to_end)

    def _guard(self, line: Lifeline) -> None:
        """End this process if it does not notice by itself that another is dead."""
        verdict = line.verdict(None)
        if verdict is None or line.wait_closed(GRACE):
            return
        if verdict.is_told_by(line.own):
            sys.stderr.write(f"error: {verdict.sentence}\n")
            sys.stderr.flush()
        os._exit(2)

    def _asked_to_end(self, number: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM, which launchers often send because a process died."""
        if self._is_ending:  # it is about to say why, and ends by itself, or by the system
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(GRACE))
            return
        if self._line is not None:
            self._line.verdict(2 * PATIENCE)
        raise SystemExit(128 + number)

    def _end_by(self, line: Lifeline, error: BaseException) -> NoReturn:
        """End like all ranks, with one message per machine."""
        self._is_ending = hasattr(signal, "alarm")  # on Linux and macOS
        own, is_sentence = line.own, isinstance(error, InputError)
        if isinstance(error, Exception):
            kind = f"rank {own.rank} ended by {type(error).__name__}: {error}"
            verdict = line.complain(str(error) if is_sentence else kind, PATIENCE + GRACE)
        else:  # an interrupt, which the others may have received too
            verdict = line.verdict(0.0) or line.complain(f"rank {own.rank} was interrupted", 0.0)
        is_own = verdict is not None and verdict.by == own and not verdict.is_dead
        if verdict is None or (is_own and not is_sentence):
            raise error
        if not verdict.is_told_by(own):
            raise SystemExit(2) from error
        raise error if is_own else InputError(verdict.sentence) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context manager in which a rank that dies ends all; a nested one does nothing.

        Raises:
            InputError: naming the rank that died.
        """
        if self._working:
            yield
            return
        self._working = True
        try:
            yield
        except BaseException as error:
            if self._line is not None:
                self._end_by(self._line, error)
            is_echo = self._is_rank or not is_first_here()
            if is_echo and isinstance(error, Exception):
                # The first process has the same error, reports it, and ends this one.
                time.sleep(ECHO)
            dead = self._dead(patience=GRACE / 2) if isinstance(error, Exception) else None
            # A refusal of all ends all; after a kill, the other errors are its consequences.
            is_why = dead is not None and (dead[1] < 0 or not isinstance(error, InputError))
            sentence = self._sentence(*dead) if dead is not None and is_why else None
            self._end()
            if sentence is not None:
                raise InputError(sentence) from error
            raise
        finally:
            self._working = False
            self._disconnect()
            if self._processes:  # the ranks use these until the script ends
                os.environ.update(self._variables)

    def _disconnect(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._term_before is not None and not self._is_ending:
            signal.signal(signal.SIGTERM, self._term_before)
            self._term_before = None

    def _watch(self) -> None:
        while any(process.poll() is None for process in self._processes) or self._dead():
            time.sleep(0.2)
            dead = self._dead() if self._working and self._line is None else None
            if dead is None:
                continue
            time.sleep(GRACE)
            if (
                self._working and self._processes and self._line is None
            ):  # it waits for a dead rank, and nothing wakes it
                sys.stderr.write(f"error: {self._sentence(*dead)}\n")
                sys.stderr.flush()
                self._end()
                os._exit(2)

    def _dead(self, patience: float = 0.0) -> tuple[int, int] | None:
        """Number and exit code of a dead rank; if several, one that was killed."""
        until = time.monotonic() + patience
        while True:
            codes = [(process.poll(), rank) for rank, process in enumerate(self._processes, 1)]
            dead = [(code, rank) for code, rank in codes if code is not None]
            failed = [(rank, code) for code, rank in sorted(dead) if code not in STOPPED]
            if failed or not self._processes or time.monotonic() >= until:
                return failed[0] if failed else None
            time.sleep(0.1)

    def _sentence(self, rank: int, code: int) -> str:
        how = f"ended with code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        pid, count = self._processes[rank - 1].pid, len(self._processes) + 1
        return f"rank {rank} of {count} processes (pid {pid}) {how}; {self.way_out}"

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []


def _end_with_launcher() -> None:
    while str(os.getppid()) == os.environ.get(LAUNCHER):
        time.sleep(0.2)
    os._exit(2)


ranks = Ranks()
"""Of this process."""


def in_ranks[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for functions that may run in several processes: if one dies, all end."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with ranks.together():
            return function(*args, **kwargs)

    return wrapped
