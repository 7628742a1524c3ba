"""Fingerprints, which show whether the data of a fit have changed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, final

from ppvae.data.progress import passing
from ppvae.errors import InputError

# For folders of more bytes than this (1 GiB), only the beginning of each file is read.
_WHOLE = 2**30
_BEGINNING = 2**12


@final
@dataclass(frozen=True)
class Fingerprint:
    """A digest of data and, if they are files, their size and time.

    Args:
        sha256: of the bytes of a file; of the names, sizes and bytes of a folder; or of the values
            of data in memory.
        size: bytes of all files.
        modified: when the latest file was written, in UTC.
        x: for data in memory, a digest of x and its mask alone, without labels, covariates and size
            factors.
    """

    sha256: str
    size: int | None = None
    modified: str | None = None
    x: str | None = None

    @classmethod
    def of_files(cls, path: Path, files: Sequence[Path]) -> Self:
        """Compute the fingerprint of ``path``, which is the only file or the folder of all."""
        is_file = list(files) == [path]
        sizes = [file.stat().st_size for file in files]
        total = hashlib.sha256()
        limit = None if is_file or sum(sizes) <= _WHOLE else _BEGINNING
        with passing(f"checksum of {path.name}, in MiB", sum(sizes) >> 20) as count:
            for file, size in zip(files, sizes, strict=True):
                if not is_file:
                    total.update(f"{file.relative_to(path)}\0{size}\0".encode(errors="replace"))
                with file.open("rb") as stream:
                    if limit is not None:
                        total.update(stream.read(limit))
                    while limit is None and (part := stream.read(2**20)):
                        total.update(part)
                        count(1)
        return cls(total.hexdigest(), *size_and_time(files))

    @classmethod
    def from_dict(cls, fields: object) -> Self | None:
        """Read the result of `to_dict`; None for anything else, as anyone may have edited it."""
        if not isinstance(fields, Mapping) or not isinstance(fields.get("sha256"), str):
            return None
        size, modified, x = (fields.get(name) for name in ("size", "modified", "x"))
        return cls(
            fields["sha256"],
            size if type(size) is int else None,
            modified if isinstance(modified, str) else None,
            x if isinstance(x, str) else None,
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain types for YAML and JSON, without absent fields."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def has_rows_of(self, other: Self) -> bool:
        """Whether both have the same rows x, whatever their labels or covariates."""
        return self.sha256 == other.sha256 or (self.x is not None and self.x == other.x)

    def sentence(self) -> str:
        """A description for the user."""
        if self.size is None:
            return f"values of SHA-256 {self.sha256[:12]}..."
        return f"{self.size:,} bytes of {self.modified} (SHA-256 {self.sha256[:12]}...)"


@contextmanager
def unchanging(path: Path, files: Sequence[Path]) -> Iterator[None]:
    """Refuse data that are written while they are read.

    Raises:
        InputError: if size or time have changed.
    """
    before = size_and_time(files)
    yield
    if size_and_time(files) != before:
        raise InputError(f"{path} was written while it was read: wait until it is complete.")


def fingerprint_now(old: Fingerprint, path: Path, files: Sequence[Path]) -> Fingerprint:
    """Return the current fingerprint of ``path``: the old one if size and time are unchanged.

    The bytes of a folder are always read: one of its files may be replaced by an older one.
    """
    if list(files) == [path] and (old.size, old.modified) == size_and_time(files):
        return old
    return Fingerprint.of_files(path, files)


def size_and_time(files: Sequence[Path]) -> tuple[int, str]:
    """Return the bytes of all files, and when the latest was written, in UTC."""
    stats = [file.stat() for file in files]
    youngest = max((entry.st_mtime_ns for entry in stats), default=0)
    modified = datetime.fromtimestamp(youngest // 1000 / 10**6, UTC)
    return sum(entry.st_size for entry in stats), modified.isoformat(" ", "microseconds")
