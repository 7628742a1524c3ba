"""Reading of files that may be missing or damaged; errors name the file."""

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
    """A file that cannot be read, or whose content is invalid."""


class MissingError(ReadError):
    """A file that does not exist."""


def is_there(path: Path) -> bool:
    """Whether a name exists, even if it is a broken link.

    Raises:
        ReadError: if its folder cannot be read.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: an invalid name
        return False
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {_reason(error)}") from error
    return True


def read_bytes(path: Path) -> bytes:
    """The content of a file; pipes and devices are refused without waiting.

    Raises:
        MissingError: if it does not exist.
        ReadError: if it is not a file, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if os.path.islink(path):
            raise ReadError(f"{path} is a broken link") from error
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
        MissingError, ReadError: as `read_bytes`, and if it is not text.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ReadError(f"{path} is not text in UTF-8: it was damaged") from error


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        MissingError, ReadError: as `read_text`, and if it is not a mapping in JSON.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ReadError):
            raise
        reason = str(error).splitlines()[0]
        raise ReadError(f"{path} cannot be read as JSON ({reason}): it was damaged") from error
    if not isinstance(content, dict):
        raise ReadError(f"{path} is not a mapping: it was damaged")
    return content


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
