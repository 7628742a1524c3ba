"""A locked folder for long work, which another process can continue after a kill."""

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
    """Another process has created the folder."""


class HeldFolder:
    """A folder with a file that describes it, locked until it is closed.

    The folder has that file for as long as it exists.

    Args:
        path: the folder.
        label: name of the file.
        text: content of the file in a new folder.
        target: the result for which the folder is used, named in errors.
        refuse: raises if the target must not be written; called before and after locking.
        check: raises if an existing folder is not such a folder.

    Raises:
        InputError: if another process holds it.
        WriteError: if it cannot be created.
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

        for _ in range(100):  # another process may create or remove it at the same time
            with contextlib.suppress(_TakenError):
                bear(path, lambda new: disk.write_file(new / label, text.encode()),
                     refuse=refuse_both, is_run=False)  # fmt: skip
            with contextlib.suppress(GoneError):
                if os.path.lexists(path):
                    check()
                    self._lock = Lock(path, target)
                    break
        else:
            raise WriteError(path, "other processes keep removing it")
        try:
            refuse()
        except BaseException:
            self.close()
            raise

    def begin_anew(self, text: str) -> None:
        """Remove all other files, and write a new description."""
        self._clear()
        write_text(self.path / self._label, text)

    def discard(self) -> None:
        """Remove the folder with its content, and release the lock."""
        self._clear()
        disk.remove(self.path / self._label)
        self._lock.release(self.path)
        with contextlib.suppress(OSError):  # another process may use it already
            os.rmdir(self.path)

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def _clear(self) -> None:
        for name in sorted(set(os.listdir(self.path)) - {self._label, LOCK}):
            disk.remove(self.path / name)
