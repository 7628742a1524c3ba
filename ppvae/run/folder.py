"""May a run be written here?"""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ppvae.errors import InputError
from ppvae.run.store import WriteError, finish_swap


def check_unoccupied(path: Path, *, overwrite: bool) -> None:
    """Refuse a directory that holds anything, unless it is a run that may be overwritten.

    Raises:
        InputError: naming what is there, and the way out.
    """
    finish_swap(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is no folder of its own; give another `out`")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / "config.yaml").is_file():
        raise InputError(
            f"{path} holds files that are no run of ppvae, and stays; give another `out`"
        )
    if not overwrite:
        raise InputError(
            f"{path} holds a run already; give another `out`, go on with it by "
            f"`resume({str(path)!r})`, or lose it by `overwrite=True`"
        )


def free_folder(parent: Path, name: str) -> Path:
    """A folder for ``name`` and the present time that is not there yet."""
    return next(_free_folders(parent, name))


def in_free_folder[R](name: str, create: Callable[[Path], R]) -> R:
    """Create a run in a folder of ``runs`` that no other process takes meanwhile.

    Args:
        name: what the folder is called, beside the present time.
        create: creates it at a path, whole or not at all.
    """
    places = _free_folders(Path("runs"), name)
    for _ in range(100):
        try:
            return create(next(places))
        except WriteError:
            raise
        except InputError as error:  # it is there by now, or just being made
            taken = error
    raise taken


def _free_folders(parent: Path, name: str) -> Iterator[Path]:
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count():
        path = parent / (f"{stem}-{number}" if number else stem)
        if not path.exists():
            yield path
