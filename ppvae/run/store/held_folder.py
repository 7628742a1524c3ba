"""A folder that one process works in for long, and that a killed one leaves to the next."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ppvae.run.store import disk
from ppvae.run.store.disk import WriteError
from ppvae.run.store.lock import LOCK, GoneError, Lock
from ppvae.run.store.new_folder import bear, finish_swap
from ppvae.run.store.writing import check_writable, write_text


class _TakenError(Exception):
    """Another process has made the folder."""


class HeldFolder:
    """A folder with a file that says what it is of, locked until it is closed.

    It has that file from its first moment to its last.

    Args:
        path: the folder.
        label: name of the file.
        text: what it says, where the folder is new.
        target: what the folder is for, which sentences name.
        refuse: raises if nothing may be made for the target; asked once it is held too.
        check: raises if a folder that is there is somebody else's.

    Raises:
        InputError: if another process holds it.
        WriteError: if it cannot be made.
    """

    def __init__(
        self,
        path: Path,
        label: str,
        text: str,
        *,
        target: Path,
        refuse: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        self.path, self._label = path, label
        check_writable(path)
        finish_swap(path)

        def refuse_both() -> None:
            refuse()
            if os.path.lexists(path):
                raise _TakenError

        for _ in range(100):  # another may make it, or take it away, just then
            with contextlib.suppress(_TakenError):
                bear(path, lambda new: disk.write_file(new / label, text.encode()),
                     refuse=refuse_both, is_run=False)  # fmt: skip
            with contextlib.suppress(GoneError):
                if os.path.lexists(path):
                    check()
                    self._lock = Lock(path, target)
                    break
        else:
            raise WriteError(path, "it comes and goes")
        try:
            refuse()
        except BaseException:
            self.close()
            raise

    def begin_anew(self, text: str) -> None:
        """Take all away that is in it, and have it say what it is of now."""
        self._clear()
        write_text(self.path / self._label, text)

    def discard(self) -> None:
        """Take it away, with all that is in it, and let others make it."""
        self._clear()
        disk.remove(self.path / self._label)
        self._lock.release(self.path)
        with contextlib.suppress(OSError):  # the next may be in it
            os.rmdir(self.path)

    def close(self) -> None:
        """Let others work in it."""
        self._lock.release()

    def _clear(self) -> None:
        for name in sorted(set(os.listdir(self.path)) - {self._label, LOCK}):
            disk.remove(self.path / name)
