"""Files written whole or not at all; in a run, by one writer, in scratch of its own.

A folder is a run if it has ``config.yaml`` and ``checkpoints``. Whatever is written in one is first
written in its folder ``.partial``, which only the holder of its lock uses and clears.
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
"""Names of a run that commands write to."""

_writers: WeakValueDictionary[tuple[int, int], "Writer"] = WeakValueDictionary()
"""Runs that this process writes, by device and inode: they keep these when they are moved."""


class Writer:
    """The one writer of a run, until it is closed.

    Args:
        run: the run's folder.
        name: what it is called in sentences, where it will have another name soon.

    Raises:
        InputError: if another holds it.
        WriteError: if something in it is a link, or cannot be written.
    """

    def __init__(self, run: Path, name: Path | None = None) -> None:
        self.run, self.thread = run, threading.get_ident()
        for _ in range(100):  # a run that is replaced meanwhile has a new folder
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
        """Clear the scratch, and let others write."""
        for key in [key for key, writer in _writers.items() if writer is self]:
            del _writers[key]
        with contextlib.suppress(WriteError):
            disk.remove(self.run / SCRATCH)
        self._lock.release(self.run)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the run that ``path`` is, or lies in, for as long as this lasts; nothing outside of one.

    What this thread holds already it holds on.

    Raises:
        InputError: if another process or thread holds it.
    """
    run = run_of(path)
    if run is None or _is_held(run):
        yield
        return
    with contextlib.closing(Writer(run)):
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made, and a file that is there replaced."""
    with scratch(path) as fresh:
        disk.write_file(fresh, data)
        disk.move(fresh, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as .npz, whole or not at all."""
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    write_bytes(path, packed.getvalue())


def new_map(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a new .npy file into memory, of zeros; its room on the disk is taken now.

    Raises:
        WriteError: where there is no such room.
    """
    check_writable(path)
    with disk.naming(path):
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        # A page without room would end the process, so that all are written to now.
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        else:
            array[...] = 0
            array.flush()
    return array


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files that is not there yet, whole or not at all."""
    with scratch(path) as fresh:
        disk.make_folder(fresh)
        for name, data in files.items():
            disk.write_file(fresh / name, data)
        disk.move(fresh, path)


def append_bytes(path: Path, data: bytes) -> None:
    """Add to a file, which is made where it is not there; a kill in between may leave a part."""
    if not os.path.lexists(path):
        write_bytes(path, data)
        return
    with writing(path.parent):
        check_writable(path)
        disk.append_file(path, data)


def discard(path: Path) -> None:
    """Take away a file or folder in one step; nothing if it is not there."""
    if not os.path.lexists(path):
        return
    with scratch(path) as fresh:
        disk.move(path, fresh)
        disk.remove(fresh)


def identity_of(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another that takes its name: device and inode."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A place on the same file system, from which what is made moves to ``path``."""
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
            raise WriteError(path, error.reason) from error  # the name that a person knows
        finally:
            with contextlib.suppress(WriteError):
                disk.remove(fresh)


def run_of(path: Path) -> Path | None:
    """The run that a path is or lies in."""
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
    """Refuse a path in a run that is a link, or lies behind one.

    Raises:
        WriteError: naming the link.
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
    """Refuse a run where a name that commands write to, or what is in its folders, is a link."""
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
        "nothing was changed; put a file or folder of its own in its place",
    )
