"""A temporary folder of one process, such as for a run in memory.

It is in memory if the system has a file system there, else among temporary files. It is removed
with the object, at the latest when the process ends. A killed process leaves it with a free lock,
and the next such folder that is created removes it.
"""

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from ppvae.errors import InputError
from ppvae.run.store import disk
from ppvae.run.store.disk import WriteError
from ppvae.run.store.lock import GoneError, Lock

_MEMORY = Path("/dev/shm")  # of Linux
_PREFIX = "ppvae-"


class PrivateFolder:
    """A folder that only this user can read, and that is removed with this object.

    Args:
        room: bytes that it must hold.

    Attributes:
        path: its path.
    """

    def __init__(self, room: int) -> None:
        parent = _parent(room)
        for _ in range(100):  # another process may remove it before it is locked
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            with contextlib.suppress(GoneError, InputError):
                lock = Lock(self.path)
                break
        else:
            raise WriteError(parent, "other processes keep removing new folders there")
        self._remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())
        if _abandoned(self.path) is None:  # else locks do not work there
            for other in parent.glob(f"{_PREFIX}*"):
                if (left := _abandoned(other)) is not None:
                    _remove(other, left, os.getpid())


def _parent(room: int) -> Path:
    """A folder in memory if half of the free room there is enough, else a temporary one."""
    is_there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    if is_there and shutil.disk_usage(_MEMORY).free > 2 * room:
        return _MEMORY
    return Path(tempfile.gettempdir())


def _remove(path: Path, lock: Lock, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has the object too
        with contextlib.suppress(WriteError):
            disk.remove(path)
        lock.release()


def _abandoned(folder: Path) -> Lock | None:
    """The lock of a folder of this user whose process has ended; else ``None``."""
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return None
    try:
        return Lock(folder)
    except (GoneError, InputError):
        return None
