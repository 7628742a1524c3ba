"""Folders for new runs."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ppvae.errors import InputError
from ppvae.run.store import WriteError, finish_swap


def check_unoccupied(path: Path, *, overwrite: bool) -> None:
    """Refuse a non-empty directory, unless it is a run that may be overwritten.

    Raises:
        InputError: naming the directory and the way out.
    """
    finish_swap(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is not a folder, or is a link; give another `out`")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / "config.yaml").is_file():
        raise InputError(f"{path} holds files that are not a run of ppvae; give another `out`")
    if not overwrite:
        raise InputError(
            f"{path} holds a run already; give another `out`, continue with "
            f"`resume({str(path)!r})`, or replace it with `overwrite=True`"
        )


def free_folder(parent: Path, name: str) -> Path:
    """A new folder named by ``name`` and the current time."""
    return next(_free_folders(parent, name))


def in_free_folder[R](name: str, create: Callable[[Path], R]) -> R:
    """Create a run in a new folder of ``runs``, safe against other processes.

    Args:
        name: the name of the folder, before the current time.
        create: creates the run at a path, atomically.
    """
    places = _free_folders(Path("runs"), name)
    for _ in range(100):
        try:
            return create(next(places))
        except WriteError:
            raise
        except InputError as error:  # it exists by now, or is being created
            taken = error
    raise taken


def _free_folders(parent: Path, name: str) -> Iterator[Path]:
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count():
        path = parent / (f"{stem}-{number}" if number else stem)
        if not path.exists():
            yield path
