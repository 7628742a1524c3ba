"""A lock on a folder for one writing process; the system releases it when the process ends."""

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
import warnings
import weakref
from pathlib import Path
from socket import gethostname

from ppvae.errors import InputError
from ppvae.run.store.disk import WriteError, naming

LOCK = ".lock"
"""Name of the locked file in the folder; it names the process that holds the lock."""

_ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


class GoneError(Exception):
    """The folder was moved away or removed while it was being locked."""


class Lock:
    """An advisory lock on a folder, held until it is released or the process ends.

    Args:
        folder: the folder.
        name: its name in errors, if it will be renamed.

    Raises:
        InputError: if another process holds it; the error names the process.
        WriteError: if the folder is not writable.
        GoneError: if the folder does not exist any more.
    """

    def __init__(self, folder: Path, name: Path | None = None) -> None:
        file, self.name = folder / LOCK, name or folder
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with naming(name or file):
                handle = os.open(file, flags, 0o666)
        except WriteError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise GoneError from error
            raise
        self._close = weakref.finalize(self, os.close, handle)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise WriteError(file, "it is not a file")
            self._take(handle)
            self._check_same(handle, file)
        except BaseException:
            self._close()
            raise
        self._sign(handle)

    def release(self, folder: Path | None = None) -> None:
        """Release the lock.

        Args:
            folder: the current path of the folder, if the file is to be removed. A process that
                opened the file before finds that it is gone, and creates another.
        """
        if folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(folder / LOCK)
        self._close()

    def _take(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise InputError(
                    f"{self.name} is being written by {_holder(handle)}; wait until that process "
                    "has ended, or stop it"
                ) from error
            warnings.warn(
                f"the file system of {self.name} has no locks: make sure that no other process "
                "writes there",
                stacklevel=2,
            )

    @staticmethod
    def _check_same(handle: int, file: Path) -> None:
        """Refuse a lock on a file that was removed or replaced."""
        try:
            there = os.lstat(file)
        except FileNotFoundError as error:
            raise GoneError from error
        if not os.path.samestat(there, os.fstat(handle)):
            raise GoneError

    @staticmethod
    def _sign(handle: int) -> None:
        """Write who holds the lock, for the errors of other processes, if the disk has room."""
        said = {"process": os.getpid(), "host": gethostname(), "since": time.strftime("%F %T")}
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(said).encode() + b"\n", 0)


def _holder(handle: int) -> str:
    try:
        said = json.loads(os.pread(handle, 1000, 0))
        process, host, since = int(said["process"]), str(said["host"]), str(said["since"])
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
    where = "" if host == gethostname() else f" on {host}"
    own = "this process" if not where and process == os.getpid() else f"process {process}{where}"
    return f"{own}, since {since}"
