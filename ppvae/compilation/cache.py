"""A folder of what was compiled, for the next process: entries by key, bounded in size.

An entry is one file, a ZIP archive, which carries a checksum of each of its parts. It is written
beside its place and then moved there, so that processes that write at once, or are killed, leave a
whole entry or none. A damaged entry is one that is not there. Reading and writing never fail: where
there is no folder, or it takes nothing, a note says so once, and what is compiled serves this
process alone.

Entries are code. They are read from a folder that belongs to this user and that nobody else can
write to, and from nowhere else.
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
"""Bytes that the folder may hold; the entries that were used least recently go first."""

_STALE = 3600.0
"""Seconds after which an unfinished file is what a killed process left."""


def folder() -> Path:
    """Where entries are kept: in ``TORCHINDUCTOR_CACHE_DIR`` where it is set, else in the user's.

    The user's is ``XDG_CACHE_HOME``, or ``~/.cache``, as for the weights that `torch.hub` loads.

    Raises:
        RuntimeError: if this user has no home.
    """
    chosen = chosen_by_user()
    if chosen is not None:
        return chosen / "ppvae"
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base.absolute() / "ppvae" / "compiled"


def chosen_by_user() -> Path | None:
    """The folder that ``TORCHINDUCTOR_CACHE_DIR`` names, where torch itself has not set it."""
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
    except Exception:  # a damaged archive fails in many ways, zlib's own among them
        return None
    with suppress(OSError):
        os.utime(path)
    return parts


def write(key: str, parts: Mapping[str, bytes]) -> None:
    """Keep an entry, and let the oldest ones go where there is no room."""
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
    """Remove what killed processes left, and the entries that were used least recently."""
    files = []
    for path in place.iterdir():
        with suppress(OSError):  # which another process has just removed
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
    """Say what stands in the way, and the way out."""
    note(
        "what is compiled is not kept for the next process; set XDG_CACHE_HOME or "
        "TORCHINDUCTOR_CACHE_DIR to a folder of your own",
        error,
    )
