"""Files written completely or not at all; in a run, by one writer.

A folder is a run if it has ``config.yaml`` and ``checkpoints``. Its files are first written in its
folder ``.partial``, which only the holder of its lock uses and clears.
"""

import contextlib
import io
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ppvae.run.store import disk
from ppvae.run.store.disk import WriteError
from ppvae.run.store.lock import LOCK, GoneError, Lock

SCRATCH = ".partial"

_FOLDERS = ("checkpoints", "figures", "samples", "tensorboard", "trackers")
_FILES = (
    "config.yaml", "metrics.csv", "summary.json", "diagnostics.json", "posterior.nc", "report.html",
    LOCK, SCRATCH,
)  # fmt: skip
"""Names in a run that commands write to."""

_writers: WeakValueDictionary[tuple[int, int], "Writer"] = WeakValueDictionary()
"""Runs that this process writes, by device and inode, which a move does not change."""


class Writer:
    """The only writer of a run, until it is closed.

    Args:
        run: the run's folder.
        name: its name in errors, if it will be renamed.

    Raises:
        InputError: if the run has another writer.
        WriteError: if something in it is a link, or cannot be written.
    """

    def __init__(self, run: Path, name: Path | None = None) -> None:
        self.run, self.thread = run, threading.get_ident()
        for _ in range(100):  # the run may be replaced by a new folder at the same time
            with contextlib.suppress(GoneError):
                self._lock = Lock(run, name)
                break
        else:
            raise WriteError(run, "it is gone")
        try:
            _check_no_links(run)
            disk.remove(run / SCRATCH)
        except BaseException:
            self._lock.release(run)
            raise
        found = os.stat(run)
        _writers[found.st_dev, found.st_ino] = self

    def close(self) -> None:
        """Remove the scratch folder, and release the lock."""
        for key in [key for key, writer in _writers.items() if writer is self]:
            del _writers[key]
        with contextlib.suppress(WriteError):
            disk.remove(self.run / SCRATCH)
        self._lock.release(self.run)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context that locks the run that ``path`` is or lies in, if any.

    A run that this thread has locked already stays locked afterwards.

    Raises:
        InputError: if another process or thread has locked it.
    """
    run = run_of(path)
    if run is None or _is_held(run):
        yield
        return
    with contextlib.closing(Writer(run)):
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write or replace a file, completely or not at all; its folder is created if missing."""
    with scratch(path) as fresh:
        disk.write_file(fresh, data)
        disk.move(fresh, path)


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file, completely or not at all."""
    write_bytes(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as .npz, completely or not at all."""
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    write_bytes(path, packed.getvalue())


def new_map(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a new .npy file of zeros into memory; its space on the disk is allocated at once.

    Raises:
        WriteError: if the disk has too little space.
    """
    check_writable(path)
    with disk.naming(path):
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        # Writing to a page without space on the disk would end the process.
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        else:
            array[...] = 0
            array.flush()
    return array


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files, completely or not at all."""
    with scratch(path) as fresh:
        disk.make_folder(fresh)
        for name, data in files.items():
            disk.write_file(fresh / name, data)
        disk.move(fresh, path)


def append_bytes(path: Path, data: bytes) -> None:
    """Append to a file, which is created if missing; a kill may leave a part of the data."""
    if not os.path.lexists(path):
        write_bytes(path, data)
        return
    with writing(path.parent):
        check_writable(path)
        disk.append_file(path, data)


def discard(path: Path) -> None:
    """Remove a file or folder in one step, if it exists."""
    if not os.path.lexists(path):
        return
    with scratch(path) as fresh:
        disk.move(path, fresh)
        disk.remove(fresh)


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Device and inode, which distinguish a folder from a later one of the same name."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A temporary path on the same file system, to be moved to ``path``."""
    with writing(path.parent):
        check_writable(path)
        disk.make_folders(path.parent)
        run = run_of(path.parent)
        if run is None:
            fresh = path.parent / f".{secrets.token_hex(6)}.part"
        else:
            fresh = run / SCRATCH / path.name
        try:
            if run is not None and not os.path.isdir(run / SCRATCH):
                disk.make_folder(run / SCRATCH)
            yield fresh
        except WriteError as error:
            ours = fresh if run is None else fresh.parent
            if error.path != ours and ours not in error.path.parents:
                raise
            raise WriteError(path, error.reason) from error  # the name that the user knows
        finally:
            with contextlib.suppress(WriteError):
                disk.remove(fresh)


def run_of(path: Path) -> Path | None:
    """The run that a path is or lies in, if any."""
    path = Path(os.path.abspath(path))
    for folder in (path, *path.parents):
        if _is_run(folder) or _is_held(folder, by_any=True):
            return folder
    return None


def _is_run(folder: Path) -> bool:
    return all(os.path.lexists(folder / name) for name in ("config.yaml", "checkpoints"))


def _is_held(run: Path, *, by_any: bool = False) -> bool:
    identity = identity_of(run)
    writer = None if identity is None else _writers.get(identity)
    return writer is not None and (by_any or writer.thread == threading.get_ident())


def check_writable(path: Path) -> None:
    """Refuse a path in a run if it or a folder above it is a link.

    Raises:
        WriteError: if there is a link.
    """
    path = Path(os.path.abspath(path))
    run = run_of(path.parent)
    if run is None:
        return
    for part in (path, *path.parents):
        if part == run:
            return
        if os.path.islink(part):
            raise _link(part)


def _check_no_links(run: Path) -> None:
    """Refuse a run with a link among the names that commands write to, or in its folders."""
    for name in (*_FILES, *_FOLDERS):
        if os.path.islink(run / name):
            raise _link(run / name)
    for name in _FOLDERS:
        for folder, folders, files in os.walk(run / name):
            for each in (*folders, *files):
                if os.path.islink(os.path.join(folder, each)):
                    raise _link(Path(folder) / each)


def _link(path: Path) -> WriteError:
    return WriteError(
        path,
        "it is a link, and nothing in a run is written or removed through one",
        "nothing was changed; replace the link by a file or folder",
    )
