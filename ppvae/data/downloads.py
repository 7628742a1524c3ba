"""Published files: their location, checksums and download."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ppvae.errors import InputError

# Checksums of files as published, under the data directory. Other sets have no published checksum
# of the files on disk; torchvision checks its downloads.
MD5 = {
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "BinarizedMNIST/binarized_mnist_train.amat": "db28b1a6ae0fe70cbd3da91acf46e477",
    "BinarizedMNIST/binarized_mnist_valid.amat": "bf37822a04e94123630de6a7dfd9c9ef",
    "BinarizedMNIST/binarized_mnist_test.amat": "14e41ae11040adba6ab8cb291eda0dd8",
}


class ReadOnlyFolder(Path):
    """A data directory that a config names, not the user: nothing is written to it."""


def data_folder(data_dir: Path | None) -> Path:
    """Return ``data_dir``, else the value of ``PPVAE_DATA``, else ``~/.cache/ppvae``."""
    if data_dir is None:
        data_dir = Path(os.environ.get("PPVAE_DATA") or "~/.cache/ppvae")
    return data_dir.expanduser()


def check_may_download(name: str, folder: Path) -> None:
    """Refuse to download the data ``name`` to a folder that the user did not name.

    Raises:
        InputError: for a `ReadOnlyFolder`.
    """
    if isinstance(folder, ReadOnlyFolder):
        raise InputError(
            f"the data {name!r} is not in {folder}, which a config names as data_dir, and nothing "
            f"is written to a folder that you did not name: give `data_dir`."
        )


def checked(folder: Path, relative: str) -> bytes:
    """Return the bytes of the published file ``relative`` in ``folder``.

    Raises:
        InputError: if it cannot be read, or differs from the one in ``MD5``.
    """
    path = folder / relative
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}.") from error
    expected = MD5.get(relative)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected is not None and digest != expected:
        raise InputError(
            f"{path} is damaged or another file: its md5 is {digest}, and {expected} was expected; "
            f"move it away, and it is downloaded again."
        )
    return content


def download(url: str, folder: Path, relative: str) -> None:
    """Download ``url`` as ``relative`` in ``folder``, completely or not at all.

    Raises:
        Exception: any exception of network and disk; see :func:`obtaining`.
    """
    from torchvision.datasets.utils import download_url

    check_may_download(Path(relative).parent.name, folder)
    path = folder / relative
    part = f"{path.name}.part-{os.getpid()}"
    try:
        download_url(url, path.parent, part, MD5.get(relative))
        (path.parent / part).replace(path)
    finally:
        (path.parent / part).unlink(missing_ok=True)


@contextmanager
def obtaining(name: str, folder: Path) -> Iterator[None]:
    """Convert any failure to get the data ``name`` to one sentence, and leave no empty folders."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    there = set(folder.iterdir()) if folder.is_dir() else set()
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # networks, archives and disks raise many kinds
        if folder.is_dir():
            for made in set(folder.iterdir()) - there:
                _remove_empty([Path(path) for path, _, _ in os.walk(made, topdown=False)])
        _remove_empty(new)
        raise InputError(
            f"the data {name!r} is not in {folder}, and getting it failed ({_reason(error)}): "
            f"point `data_dir` or PPVAE_DATA at a folder that holds it."
        ) from error


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove the empty ones of ``folders``, in the given order."""
    for path in folders:
        with suppress(OSError):  # it is not empty, and stays
            path.rmdir()


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """Convert any failure of a parser of ``kind`` on the file ``path`` to one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # parsers raise anything for damaged bytes
        raise InputError(
            f"{path} cannot be read as {kind}: {_reason(error)}; write it again."
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error, and the lines that a colon at its end introduces."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = ""
    for line in str(error).strip().splitlines():
        reason = f"{reason} {line.strip()}".lstrip()
        if not reason.endswith(":"):
            break
    return reason.rstrip(".:") or type(error).__name__
