"""Simulation of kills and full disks in one process, by counting the system calls of the store.

A killed process runs no ``finally``, so a kill leaves the disk as the operations before it did. One
undisturbed command thus shows the result of every kill: the folder is copied before each operation
and in the middle of each write.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ppvae.run.store import disk, lock, new_folder

_CHANGES = ("mkdir", "open", "write", "fsync", "ftruncate", "rename", "unlink", "rmdir")
_TIDY = ("ftruncate", "unlink", "rmdir")
"""Operations that work on a full disk too."""


class Counted:
    """The module ``os`` of the store, with a callback before each change of the disk.

    Args:
        before: called with the name of the operation; may raise, as the system would.
    """

    def __init__(self, before: Callable[[str], None]) -> None:
        self._before = before

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _CHANGES:
            return real

        def call(*arguments: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY):
                return real(*arguments)
            self._before(name)
            if name == "write" and len(arguments[1]) > 1:  # half of it, and then the rest
                handle, data = arguments
                written: int = real(handle, data[: len(data) // 2])
                return written
            return real(*arguments)

        return call


@contextmanager
def counted(before: Callable[[str], None], *, has_swap: bool = True) -> Iterator[None]:
    """Call ``before`` before each change of the disk by the store."""
    swap = disk.swap

    def counted_swap(one: Path, other: Path) -> bool:
        with disk.naming(other):
            before("swap")
        return has_swap and swap(one, other)

    with pytest.MonkeyPatch.context() as patch:
        for module in (disk, lock, new_folder):
            patch.setattr(module, "os", Counted(before))
        patch.setattr(disk, "swap", counted_swap)
        yield


def states(
    home: Path, into: Path, command: Callable[[], object], every: int, *, has_swap: bool = True
) -> tuple[list[Path], int]:
    """States of ``home`` that a kill of ``command`` leaves, and the number of operations.

    Only each ``every``-th operation is considered, and the first of equal states.
    """
    kept: list[Path] = []
    count = 0
    seen: object = None

    def keep(name: str) -> None:
        nonlocal count, seen
        if count % every == every // 2 and (now := content(home)) != seen:
            seen = now
            kept.append(into / f"{count:04d}-{name}" / home.name)
            shutil.copytree(home, kept[-1], symlinks=True)
        count += 1

    with counted(keep, has_swap=has_swap):
        command()
    return kept, count


def content(home: Path) -> dict[str, bytes | None]:
    """All files of a folder with their content, except that of the lock (a time and a process)."""
    return {
        str(path.relative_to(home)): None
        if path.is_dir() or path.name == lock.LOCK
        else path.read_bytes()
        for path in home.rglob("*")
    }


@contextmanager
def full_from(operation: int) -> Iterator[None]:
    """A disk that is full from operation ``number`` on, counted from 0."""
    count = 0

    def before(name: str) -> None:
        nonlocal count
        count += 1
        if count > operation and name not in _TIDY:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with counted(before):
        yield
