"""Files that may be damaged, or no files: read, or refused in a sentence that names them."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from ppvae.errors import InputError

_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class ReadError(InputError):
    """A file that cannot be read, or does not hold what it should."""


class MissingError(ReadError):
    """A file that is not there."""


def is_there(path: Path) -> bool:
    """Whether a name is taken, if only by a link to nothing.

    Raises:
        ReadError: if its folder cannot be looked into.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for what is no name
        return False
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {_reason(error)}") from error
    return True


def read_bytes(path: Path) -> bytes:
    """The content of a file; a pipe or a device is not waited for.

    Raises:
        MissingError: if there is none of that name.
        ReadError: if it is no file, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if os.path.islink(path):
            raise ReadError(f"{path} is a link to nothing") from error
        raise MissingError(f"{path} is missing") from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {_reason(error)}") from error
    try:
        kind = stat.S_IFMT(os.fstat(handle).st_mode)
        if kind != stat.S_IFREG:
            raise ReadError(f"{path} is a {_KINDS.get(kind, 'thing')}, not a file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {_reason(error)}") from error
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        MissingError, ReadError: as `read_bytes`, and for what is no text.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ReadError(f"{path} is no text in UTF-8: it was damaged") from error


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that a file of JSON holds.

    Raises:
        MissingError, ReadError: as `read_text`, and for what is no mapping in JSON.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ReadError):
            raise
        reason = str(error).splitlines()[0]
        raise ReadError(f"{path} cannot be read as JSON ({reason}): it was damaged") from error
    if not isinstance(content, dict):
        raise ReadError(f"{path} holds no mapping: it was damaged")
    return content


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
