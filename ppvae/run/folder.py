"""May a run be written here?"""

import time
from pathlib import Path

from ppvae.errors import InputError
from ppvae.run.store import finish_swap


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
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = parent / stem, 1
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path
