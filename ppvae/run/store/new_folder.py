"""A new folder, or a long file, at its name: made beside it, and put there in one step, whole.

It is made in ``.NAME.partial``, which is locked while it lasts. Where something may be replaced,
the two folders are exchanged in one step. Where the system cannot do that, the old one is first
moved into ``.NAME.partial`` as ``old``: if the process is killed before the new one has its name,
whoever opens the run next finds ``old`` there and nothing at the name, and finishes. What a killed
process left there is cleared by the next that writes at the name.
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
    """Make a folder, whole or not at all.

    Args:
        path: its name.
        fill: writes what is in it, given the folder that will be moved.
        refuse: raises if what is at the name may not be replaced; asked before and after.
        is_run: whether it is a run, which is then held for writing from its first moment on.

    Returns:
        The writer of the run; ``None`` for another folder.

    Raises:
        InputError: if something is there that may not be replaced, or is being written.
        WriteError: if it cannot be made.
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
    """A file for others to write, which then has its name, whole; what is there is replaced.

    Args:
        path: its name.
        like: a file whose content it has to begin with.

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
            raise WriteError(path, error.reason) from error  # the name that a person knows


def finish_swap(path: Path) -> None:
    """Give the name its folder, if a killed process left it none between two renames.

    What else such a process left beside the name is cleared.
    """
    if os.path.lexists(_nursery_of(path)):
        # Held, it is being finished right now; and what cannot be cleared may stay.
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
    """The folder beside ``path``, locked; what a killed process left in it is cleared."""
    nursery = _nursery_of(path)
    lock = _lock(nursery, path)
    try:
        _give_name(path)
        _clear(nursery)
        yield nursery
    finally:
        # What cannot be cleared now is cleared by the next that is made here.
        with contextlib.suppress(WriteError):
            _clear(nursery)
            disk.remove(nursery)
        lock.release()


def _lock(nursery: Path, path: Path) -> Lock:
    if os.path.islink(nursery) or (os.path.lexists(nursery) and not nursery.is_dir()):
        raise WriteError(path, f"{nursery} is in the way, and is no folder")
    for _ in range(100):  # another may clear it just then
        if not os.path.lexists(nursery):
            with disk.naming(path), contextlib.suppress(FileExistsError):
                os.mkdir(nursery)
        elif set(os.listdir(nursery)) - {LOCK, _NEW, _OLD}:
            raise WriteError(path, f"{nursery} is in the way, and holds files of somebody's")
        try:
            return Lock(nursery, path)
        except GoneError:
            continue
        except WriteError:
            with contextlib.suppress(OSError):
                os.rmdir(nursery)  # it was made for this alone
            raise
    raise WriteError(path, f"{nursery} comes and goes")


def _clear(nursery: Path) -> None:
    for name in (_NEW, _OLD):
        disk.remove(nursery / name)


def _place(fresh: Path, path: Path, refuse: Callable[[], None], *, is_run: bool) -> None:
    """Move what is whole to its name; what is there, and may be replaced, is exchanged for it."""
    refuse()
    if not os.path.lexists(path) or not os.listdir(path):
        try:
            disk.move(fresh, path)
        except WriteError:
            refuse()  # another was the first
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
    """Exchange two folders where the system cannot do it in one step."""
    old = fresh.with_name(_OLD)
    disk.move(path, old)
    try:
        disk.move(fresh, path)
    except BaseException:
        disk.move(old, path)
        raise
    disk.move(old, fresh)
