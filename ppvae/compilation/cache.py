"""A folder of compiled code for later processes: entries by key, bounded in size.

An entry is one ZIP file, with a checksum for each of its parts. It is written to a temporary file
and then renamed, so that concurrent or killed processes leave a complete entry or none. A damaged
entry counts as missing. Reading and writing never fail: without a folder, or where it cannot be
written, a note is logged once, and compiled code serves this process only.

Entries are executed. They are read only from a folder that this user owns and nobody else can
write to.
"""

import io
import os
import stat
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ppvae.compilation.notes import note

LARGEST = 256 * 2**20
"""Bytes that the folder may hold; the least recently used entries are removed first."""

_STALE = 3600.0
"""Seconds after which an unfinished file counts as left by a killed process."""


def folder() -> Path:
    """The folder of entries: under ``TORCHINDUCTOR_CACHE_DIR`` if set, else in the user's cache.

    The user's cache is ``XDG_CACHE_HOME``, or ``~/.cache``, as for weights loaded by `torch.hub`.

    Raises:
        RuntimeError: if this user has no home.
    """
    chosen = chosen_by_user()
    if chosen is not None:
        return chosen / "ppvae"
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base.absolute() / "ppvae" / "compiled"


def chosen_by_user() -> Path | None:
    """The value of ``TORCHINDUCTOR_CACHE_DIR``, unless torch itself has set it."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # late: it takes seconds

    chosen = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if not chosen or Path(chosen).absolute() == Path(default_cache_dir()).absolute():
        return None
    return Path(chosen).absolute()


def read(key: str) -> dict[str, bytes] | None:
    """The parts of an entry, by name; ``None`` if there is none, or it is damaged."""
    try:
        path = _own_folder() / f"{key}.zip"
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:
        _say(error)
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # a damaged archive fails in many ways
        return None
    with suppress(OSError):
        os.utime(path)
    return parts


def write(key: str, parts: Mapping[str, bytes]) -> None:
    """Store an entry, and remove the oldest ones if there is no room."""
    unfinished = None
    try:
        place = _own_folder()
        handle, name = tempfile.mkstemp(suffix=".unfinished", dir=place)
        unfinished = Path(name)
        with (
            os.fdopen(handle, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, content in parts.items():
                archive.writestr(name, content)
        unfinished.replace(place / f"{key}.zip")
        _make_room(place)
    except (OSError, RuntimeError) as error:
        _say(error)
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()


def _own_folder() -> Path:
    """The folder, made where it is missing.

    Raises:
        OSError: if it cannot be made, or others may write to it.
    """
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        about = place.stat()
        if about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{place} belongs to others, or others may write to it")
    return place


def _make_room(place: Path) -> None:
    """Remove the files of killed processes, and the least recently used entries."""
    files = []
    for path in place.iterdir():
        with suppress(OSError):  # another process may just have removed it
            about = path.stat()
            if path.suffix == ".zip":
                files.append((about.st_mtime, about.st_size, path))
            elif path.suffix == ".unfinished" and about.st_mtime < time.time() - _STALE:
                path.unlink()
    left = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if left <= LARGEST:
            return
        with suppress(OSError):
            path.unlink()
        left -= size


def _say(error: Exception) -> None:
    """Log the obstacle, and the way out."""
    note(
        "compiled code is not kept for the next process; set XDG_CACHE_HOME or "
        "TORCHINDUCTOR_CACHE_DIR to a folder of your own",
        error,
    )
