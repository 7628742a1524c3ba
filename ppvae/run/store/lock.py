"""A lock on a folder: one process writes it, and the system frees it when that process ends."""

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
"""Name of the file that is locked, in the folder; it says who holds it."""

_ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


class GoneError(Exception):
    """The folder was moved away or removed while it was being locked."""


class Lock:
    """An advisory lock on a folder, held until it is released or the process ends.

    Args:
        folder: which.
        name: what it is called in sentences, where it will have another name soon.

    Raises:
        InputError: if another process holds it, saying which.
        WriteError: if nothing can be written there.
        GoneError: if the folder is no longer there.
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
                raise WriteError(file, "it is no file")
            self._take(handle)
            self._check_same(handle, file)
        except BaseException:
            self._close()
            raise
        self._sign(handle)

    def release(self, folder: Path | None = None) -> None:
        """Let others write.

        Args:
            folder: where the folder is now; the file is then taken away. Whoever has opened it
                meanwhile finds that it is gone, and makes another.
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
                    f"{self.name} is being written by {_holder(handle)}; wait until that has "
                    "ended, or stop it"
                ) from error
            warnings.warn(
                f"the file system of {self.name} has no locks: see to it yourself that nothing "
                "else writes there",
                stacklevel=2,
            )

    @staticmethod
    def _check_same(handle: int, file: Path) -> None:
        """Refuse a lock on what the name no longer stands for."""
        try:
            there = os.lstat(file)
        except FileNotFoundError as error:
            raise GoneError from error
        if not os.path.samestat(there, os.fstat(handle)):
            raise GoneError

    @staticmethod
    def _sign(handle: int) -> None:
        """Say who holds it, for the sentence that others get; without room, it goes unsaid."""
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
