"""What tells the data of a fit from others that may later lie in the same place."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, final

from ppvae.data.progress import passing
from ppvae.errors import InputError

# Of files of more bytes together than this (1 GiB) only the beginnings are looked at.
_WHOLE = 2**30
_BEGINNING = 2**12


@final
@dataclass(frozen=True)
class Fingerprint:
    """A digest of data, and, where they are files, their size and time.

    Args:
        sha256: of the bytes of the file; of the names, sizes and bytes of a folder's; or of the
            values of data that are no file.
        size: bytes of all files.
        modified: when the youngest file was written, in UTC.
        x: of data that are no file, a digest of x and its mask alone, without labels, covariates
            and size factors.
    """

    sha256: str
    size: int | None = None
    modified: str | None = None
    x: str | None = None

    @classmethod
    def of_files(cls, path: Path, files: Sequence[Path]) -> Self:
        """Take the fingerprint of ``path``, which is its one file or the folder of all."""
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
        """Read what `to_dict` wrote; anything else is None, for anyone may have edited it."""
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
        """Return plain types, as YAML and JSON hold them; absent fields are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def has_rows_of(self, other: Self) -> bool:
        """Whether both are of the same rows x, whatever stands beside them."""
        return self.sha256 == other.sha256 or (self.x is not None and self.x == other.x)

    def sentence(self) -> str:
        """What it is of, for a person."""
        if self.size is None:
            return f"values of SHA-256 {self.sha256[:12]}..."
        return f"{self.size:,} bytes of {self.modified} (SHA-256 {self.sha256[:12]}...)"


@contextmanager
def unchanging(path: Path, files: Sequence[Path]) -> Iterator[None]:
    """Refuse data that are written while they are read.

    Raises:
        InputError: where size or time are not what they were.
    """
    before = size_and_time(files)
    yield
    if size_and_time(files) != before:
        raise InputError(f"{path} was written while it was read: wait until it is whole.")


def fingerprint_now(old: Fingerprint, path: Path, files: Sequence[Path]) -> Fingerprint:
    """Return the fingerprint of ``path`` today: the old one where size and time are the same.

    Of a folder the bytes are always looked at: one of its files may be replaced by an older one.
    """
    if list(files) == [path] and (old.size, old.modified) == size_and_time(files):
        return old
    return Fingerprint.of_files(path, files)


def size_and_time(files: Sequence[Path]) -> tuple[int, str]:
    """Return the bytes of all files, and when the youngest was written, in UTC."""
    stats = [file.stat() for file in files]
    youngest = max((entry.st_mtime_ns for entry in stats), default=0)
    modified = datetime.fromtimestamp(youngest // 1000 / 10**6, UTC)
    return sum(entry.st_size for entry in stats), modified.isoformat(" ", "microseconds")
