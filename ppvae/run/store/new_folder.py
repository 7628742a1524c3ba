"""Atomic creation of folders and long files: written next to their name, then moved to it.

They are written in ``.NAME.partial``, which is locked meanwhile. An existing folder is exchanged
for the new one in one step. If the system cannot do that, the old one is first moved to
``.NAME.partial/old``. If the process is killed before the new one has its name, the next process
that opens the run finds ``old`` and no folder at the name, and completes the exchange. Files left
by a killed process are removed when the name is written again.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ppvae.errors import InputError
from ppvae.run.store import disk
from ppvae.run.store.disk import WriteError
from ppvae.run.store.lock import LOCK, GoneError, Lock
from ppvae.run.store.writing import Writer, run_of, scratch

_NEW, _OLD = "new", "old"


def bear(
    path: Path,
    fill: Callable[[Path], None],
    *,
    refuse: Callable[[], None],
    is_run: bool = True,
) -> Writer | None:
    """Create a folder, completely or not at all.

    Args:
        path: the folder.
        fill: writes its content, given the temporary folder.
        refuse: raises if an existing folder must not be replaced; called before and after.
        is_run: whether it is a run, which is locked for writing from its creation on.

    Returns:
        The writer of the run; ``None`` for another folder.

    Raises:
        InputError: if an existing folder must not be replaced, or is being written.
        WriteError: if it cannot be created.
    """
    refuse()
    disk.make_folders(path.parent)
    with _nursery(path) as nursery:
        refuse()
        fresh, writer = nursery / _NEW, None
        try:
            disk.make_folder(fresh)
            if is_run:
                writer = Writer(fresh, path)
            fill(fresh)
            _place(fresh, path, refuse, is_run=is_run)
        except BaseException as error:
            if writer is not None:
                writer.close()
            if isinstance(error, WriteError) and nursery in error.path.parents:
                inside = error.path.relative_to(nursery)
                raise WriteError(path.joinpath(*inside.parts[1:]), error.reason) from error
            raise
        if writer is not None:
            writer.run = path
        return writer


@contextmanager
def aside(path: Path, like: Path | None = None) -> Iterator[BinaryIO]:
    """Context with an open file that becomes ``path`` at the end, replacing an existing file.

    Args:
        path: the file.
        like: a file with the initial content.

    Raises:
        InputError: if another process writes it.
        WriteError: if it cannot be written.
    """
    with scratch(path) if run_of(path.parent) is not None else _beside(path) as fresh:
        with disk.naming(fresh):
            if like is not None:
                shutil.copyfile(like, fresh)
            with fresh.open("xb+" if like is None else "rb+") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        disk.move(fresh, path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    disk.make_folders(path.parent)
    with _nursery(path) as nursery:
        try:
            yield nursery / _NEW
        except WriteError as error:
            if nursery not in error.path.parents:
                raise
            raise WriteError(path, error.reason) from error  # the name that the user knows


def finish_swap(path: Path) -> None:
    """Complete the exchange of a process that was killed between two renames.

    Other files that it left in ``.NAME.partial`` are removed.
    """
    if os.path.lexists(_nursery_of(path)):
        # If it is locked, another process completes it; files that cannot be removed may stay.
        with contextlib.suppress(InputError), _nursery(path):
            pass


def _give_name(path: Path) -> None:
    nursery = _nursery_of(path)
    if os.path.lexists(nursery / _OLD) and not os.path.lexists(path):
        whole = _NEW if os.path.lexists(nursery / _NEW) else _OLD
        disk.move(nursery / whole, path)


def _nursery_of(path: Path) -> Path:
    path = Path(os.path.abspath(path))
    return path.parent / f".{path.name}.partial"


@contextmanager
def _nursery(path: Path) -> Iterator[Path]:
    """The folder ``.NAME.partial``, locked and empty."""
    nursery = _nursery_of(path)
    lock = _lock(nursery, path)
    try:
        _give_name(path)
        _clear(nursery)
        yield nursery
    finally:
        # Files that cannot be removed now are removed when the name is written again.
        with contextlib.suppress(WriteError):
            _clear(nursery)
            disk.remove(nursery)
        lock.release()


def _lock(nursery: Path, path: Path) -> Lock:
    if os.path.islink(nursery) or (os.path.lexists(nursery) and not nursery.is_dir()):
        raise WriteError(path, f"{nursery} is in the way, and is not a folder")
    for _ in range(100):  # another process may remove it at the same time
        if not os.path.lexists(nursery):
            with disk.naming(path), contextlib.suppress(FileExistsError):
                os.mkdir(nursery)
        elif set(os.listdir(nursery)) - {LOCK, _NEW, _OLD}:
            raise WriteError(path, f"{nursery} is in the way, and holds other files")
        try:
            return Lock(nursery, path)
        except GoneError:
            continue
        except WriteError:
            with contextlib.suppress(OSError):
                os.rmdir(nursery)  # nothing else uses it
            raise
    raise WriteError(path, f"other processes keep removing {nursery}")


def _clear(nursery: Path) -> None:
    for name in (_NEW, _OLD):
        disk.remove(nursery / name)


def _place(fresh: Path, path: Path, refuse: Callable[[], None], *, is_run: bool) -> None:
    """Move the complete folder to its name, or exchange it for the existing one."""
    refuse()
    if not os.path.lexists(path) or not os.listdir(path):
        try:
            disk.move(fresh, path)
        except WriteError:
            refuse()  # another process was faster
            raise
        return
    with contextlib.ExitStack() as held:
        replaced = held.enter_context(contextlib.closing(Writer(path))) if is_run else None
        refuse()
        if not disk.swap(fresh, path):
            _swap_in_two(fresh, path)
        if replaced is not None:
            replaced.run = fresh


def _swap_in_two(fresh: Path, path: Path) -> None:
    """Exchange two folders in several steps, if the system cannot do it in one."""
    old = fresh.with_name(_OLD)
    disk.move(path, old)
    try:
        disk.move(fresh, path)
    except BaseException:
        disk.move(old, path)
        raise
    disk.move(old, fresh)
