"""A folder of one process, for what is to leave no files.

It is in memory where the system has a file system there, and else among temporary files. It is
removed with the object, and at the latest with the process. A process that is killed outright
leaves it: its lock is then free, and the next such folder that is made there takes it away.
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
    """A folder that only this user can look into, and that goes with this object.

    Args:
        room: bytes that it is to hold.

    Attributes:
        path: where it is.
    """

    def __init__(self, room: int) -> None:
        parent = _parent(room)
        for _ in range(100):  # another process may have taken it for abandoned, and removed it
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            with contextlib.suppress(GoneError, InputError):
                lock = Lock(self.path)
                break
        else:
            raise WriteError(parent, "folders come and go there")
        self._remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())
        if _abandoned(self.path) is None:  # else nothing is locked there, and all seem abandoned
            for other in parent.glob(f"{_PREFIX}*"):
                if (left := _abandoned(other)) is not None:
                    _remove(other, left, os.getpid())


def _parent(room: int) -> Path:
    """In memory, if half of what is free there is enough."""
    is_there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    if is_there and shutil.disk_usage(_MEMORY).free > 2 * room:
        return _MEMORY
    return Path(tempfile.gettempdir())


def _remove(path: Path, lock: Lock, owner: int) -> None:
    if os.getpid() == owner:  # a process that was forked off has the object too
        with contextlib.suppress(WriteError):
            disk.remove(path)
        lock.release()


def _abandoned(folder: Path) -> Lock | None:
    """The lock of a folder of this user's whose process is gone."""
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return None
    try:
        return Lock(folder)
    except (GoneError, InputError):
        return None
