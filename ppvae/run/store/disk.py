"""Changes of the disk: operations that create, move and remove files.

Nothing is written or removed through a symbolic link, new files and folders follow the umask, and
a failure is a `WriteError` that names the path.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppvae.errors import InputError

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


class WriteError(InputError):
    """A change of the disk that failed.

    Args:
        path: the file or folder that could not be written.
        reason: why.
        good: what is intact, and the way out.
    """

    def __init__(
        self, path: Path, reason: str, good: str = "what was there before is unchanged"
    ) -> None:
        super().__init__(f"{path} cannot be written: {reason}; {good}")
        self.path, self.reason = path, reason

    def but(self, good: str) -> "WriteError":
        """The same error with another statement of what is intact."""
        return WriteError(self.path, self.reason, good)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Convert errors of the system within this context to a `WriteError` of ``path``."""
    try:
        yield
    except OSError as error:
        # Not the message of the system, which may name a scratch file.
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise WriteError(path, reason) from error


def make_folder(path: Path) -> None:
    """Create a folder, which must not exist."""
    with naming(path):
        os.mkdir(path)


def make_folders(path: Path) -> None:
    """Create a folder and its parents, if they do not exist."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = path.parent
        if path in (path.parent, Path()):
            break
    for folder in reversed(missing):
        with naming(folder), contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        if not os.path.isdir(folder):
            raise WriteError(folder, "it is not a folder")


def write_file(path: Path, data: bytes) -> None:
    """Write a file, which must not exist, and flush it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with naming(path):
        handle = os.open(path, flags, 0o666)
        try:
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)


def append_file(path: Path, data: bytes) -> None:
    """Append to an existing file and flush it to the disk; atomic unless the power fails."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with naming(path):
        handle = os.open(path, flags)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            try:
                _write_all(handle, data)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, before.st_size)
                raise
        finally:
            os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def move(source: Path, target: Path) -> None:
    """Rename a file or folder; a file or an empty folder of the new name is replaced."""
    with naming(target):
        os.rename(source, target)
    _sync_folder(target.parent)


def swap(one: Path, other: Path) -> bool:
    """Exchange two names atomically; false, without any change, if the system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    arguments = _HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE
    if call(*arguments) != 0:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            return False
        raise WriteError(other, os.strerror(code).lower())
    _sync_folder(other.parent)
    _sync_folder(one.parent)
    return True


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its content, if it exists."""
    with naming(path):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            os.unlink(path)
            return
        for name in sorted(os.listdir(path)):
            remove(path / name)
        os.rmdir(path)


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
