"""Rows that stay on disk: surveyed in one pass, and read when needed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final, override

import torch
from torch import Tensor

from ppvae.data.annotations import Annotations
from ppvae.data.binarization import Binarization
from ppvae.data.pools import Blocks
from ppvae.data.progress import passing
from ppvae.data.rows import CHUNK, Rows
from ppvae.data.scaling import Scaling
from ppvae.data.split import Batch, Extremes, Split
from ppvae.data.stored import Stored
from ppvae.data.streamed import StreamedSplit
from ppvae.data.survey import Survey
from ppvae.data.tensors import unfit


@final
@dataclass(frozen=True, eq=False)
class DiskRows(Rows):
    """Rows of an array on disk.

    Args:
        stored: the array.
        index: (N,) the numbers of its rows.
        y: (N,) int64 codes, (N, ...) float32 covariates, or None.
        names: names of the columns, if a row is a vector and the format has names.
        size_factor: (N,) float32, the factor of the mean of counts, or None.
        known: annotations of the rows; by default their numbers.
    """

    stored: Stored
    index: Tensor
    y: Tensor | None = None
    names: tuple[str, ...] | None = None
    size_factor: Tensor | None = None
    known: Annotations | None = None

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    @override
    def dtype(self) -> torch.dtype:
        return self.stored.dtype

    @property
    @override
    def annotations(self) -> Annotations:
        return self.known or Annotations(self.index)

    @property
    @override
    def extra_names(self) -> tuple[str, ...]:
        has = {"y": "y" in self.beside, "mask": self.stored.has_mask}
        has["size_factor"] = "size_factor" in self.beside
        return tuple(name for name, is_there in has.items() if is_there)

    @property
    @override
    def beside(self) -> Batch:
        fields = {"y": self.y, "size_factor": self.size_factor}
        return {name: values for name, values in fields.items() if values is not None}

    @property
    @override
    def is_held(self) -> bool:
        return self.stored.is_held

    @property
    def survey(self) -> Survey:
        """The result of one pass over these rows; `surveyed` makes one pass for several parts."""
        return surveyed({"": self})[""]

    @override
    def __len__(self) -> int:
        return len(self.index)

    @override
    def read(self, index: Tensor) -> Batch:
        read = self.stored.take(self.index[index])
        read |= {name: values[index] for name, values in self.beside.items()}
        return {name: read[name] for name in ("x", *self.extra_names)}

    @override
    def chunks(self, size: int = CHUNK) -> Iterator[Batch]:
        return super().chunks(min(size, self.stored.at_once))

    @override
    def select(self, index: Tensor) -> "DiskRows":
        known = None if self.known is None else self.known.select(index)
        y, size = (None if each is None else each[index] for each in (self.y, self.size_factor))
        return replace(self, index=self.index[index], y=y, size_factor=size, known=known)

    @override
    def part(self, index: Tensor) -> "DiskRows":
        """The rows at ``index``; for large data in the order of the file, for fast passes."""
        return self.select(index.sort().values if self.stored.is_large else index)

    @property
    @override
    def blocks(self) -> Blocks | None:
        return self.stored.blocks_of(self.index)

    @override
    def extremes(self, scaling: Scaling) -> Extremes:
        return self.survey.extremes(scaling)

    @override
    def split(self, scaling: Scaling, binarization: Binarization) -> Split:
        return StreamedSplit(self, scaling, binarization)

    @override
    def digest(self, *, beside: bool = True) -> str:
        """The digest of the same rows in memory, computed in parts of its chunks."""
        total = hashlib.sha256()
        for index in torch.arange(len(self)).split(CHUNK):
            pieces = index.split(self.stored.at_once)
            for name, first in self.read(index[:1]).items():
                if not beside and name not in ("x", "mask"):
                    continue
                total.update(f"{name} {first.dtype} {(len(index), *first.shape[1:])}".encode())
                for piece in pieces:
                    values = self.read(piece)[name]
                    total.update(memoryview(values.contiguous().numpy()).cast("B"))
        return total.hexdigest()


def surveyed(parts: Mapping[str, Rows]) -> dict[str, Survey]:
    """Survey the rows on disk of some parts, with one pass over each file, once.

    Raises:
        InputError: for numbers that float32 cannot hold.
    """
    on_disk = {part: rows for part, rows in parts.items() if isinstance(rows, DiskRows)}
    found: dict[str, Survey] = {}
    for stored in dict.fromkeys(rows.stored for rows in on_disk.values()):
        own = {part: rows for part, rows in on_disk.items() if rows.stored is stored}
        keys = {
            part: hashlib.sha256(memoryview(rows.index.contiguous().numpy())).hexdigest()
            for part, rows in own.items()
        }
        if not set(keys.values()) <= stored.surveys.keys():
            _survey(stored, {keys[part]: rows.index for part, rows in own.items()})
        found |= {part: stored.surveys[key] for part, key in keys.items()}
    return found


def _survey(stored: Stored, parts: Mapping[str, Tensor]) -> None:
    """Survey all rows of a file, separately for each part."""
    surveys = {key: Survey() for key in parts}
    is_of = {key: torch.zeros(stored.rows, dtype=torch.bool) for key in parts}
    for key, index in parts.items():
        is_of[key][index] = True
    with passing(f"looking at {stored.path.name}", stored.rows) as count:
        for rows in stored.spans():
            chunk = stored.take(rows)
            for key, survey in surveys.items():
                own = is_of[key][rows]
                if own.any():
                    some = chunk if own.all() else {n: v[own] for n, v in chunk.items()}
                    survey.add(some, rows[own])
            count(len(rows))
    wrong = sum(survey.wrong for survey in surveys.values())
    if wrong:
        first = min(survey.first_wrong for survey in surveys.values() if survey.wrong)
        is_float = stored.dtype.is_floating_point
        raise unfit(str(stored.path), wrong, stored.rows, first, is_float=is_float)
    stored.surveys |= surveys
