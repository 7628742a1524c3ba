"""Unfinished encodings: ``OUT.partial/``, with the finished pieces.

A piece is written whole or not at all. Encoding the same again, for instance after a kill, resumes
after the last piece. One process at a time holds the folder.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae.data import Split
from ppvae.data.fingerprint import Fingerprint
from ppvae.data.in_memory import InMemorySplit
from ppvae.data.progress import passing
from ppvae.data.stored import SMALL
from ppvae.diagnostics import encoding
from ppvae.diagnostics.encoding import Array, Encoding
from ppvae.errors import InputError
from ppvae.run.config import versions
from ppvae.run.store import (
    HeldFolder,
    MissingError,
    ReadError,
    is_there,
    new_map,
    plain,
    read_json,
    write_arrays,
)

_MARKED = 64
"""Rows at either end that identify data on disk, with the checksum of their files."""

_PLAN = "plan.json"

_OURS = re.compile(r"(train|valid|test)-\d{6}\.npz|\.[0-9a-f]{12}\.part|\.lock")
"""Names allowed in a folder without a plan."""


class Unfinished:
    """Pieces of an encoding on disk, locked for other processes until closed.

    Args:
        target: the final file.
        plan: what is encoded, and how.
        overwrite: whether pieces of another plan may be discarded.
        refuse: function that raises if the target may not be written.

    Raises:
        InputError: if another process encodes to the target; if pieces of another plan exist, which
            are kept.
    """

    def __init__(
        self,
        target: Path,
        plan: Mapping[str, Any],
        *,
        overwrite: bool = False,
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = target.with_name(f"{target.name}.partial")
        text = json.dumps(plain(plan), indent=2) + "\n"
        self._held = HeldFolder(
            self.folder, _PLAN, text, target=target, refuse=refuse, check=self._check_own
        )
        try:
            old, new = self._plan(), json.loads(text)
            self.is_other = old != new
            if self.is_other and old is not None and not overwrite:
                raise InputError(
                    f"{self.folder} has pieces of another encoding, which differs in "
                    f"{', '.join(_differences(old, new))}; ask as before to resume it, or give "
                    "`overwrite=True` to discard it"
                )
            if self.is_other:
                self._held.begin_anew(text)
        except BaseException:
            self.close()
            raise

    def has(self, part: str, number: int) -> bool:
        """Whether a piece is finished."""
        return is_there(self._piece(part, number))

    def write(self, part: str, number: int, found: Mapping[str, Array]) -> None:
        """Write a piece."""
        write_arrays(self._piece(part, number), found)

    def read(self, part: str, number: int) -> dict[str, Array]:
        """Read a finished piece."""
        try:
            with np.load(self._piece(part, number), allow_pickle=False) as content:
                return dict(content)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{self._piece(part, number)} cannot be read: {error}; remove it, and encode again"
            ) from error

    def gathered(self, counts: Mapping[str, int], places: Array) -> dict[str, Array]:
        """All pieces, joined in arrays on disk.

        Args:
            counts: number of pieces of each split.
            places: the place of each row of the concatenated splits.
        """
        arrays: dict[str, Array] = {}
        first = 0
        for part, count in counts.items():
            for number in range(count):
                piece = self.read(part, number)
                rows = len(next(iter(piece.values())))
                for name, values in piece.items():
                    if name not in arrays:
                        shape = (len(places), *values.shape[1:])
                        arrays[name] = new_map(self.folder / f"{name}.npy", values.dtype, shape)
                    arrays[name][places[first : first + rows]] = values
                first += rows
        return {
            n: values if values.nbytes > SMALL else np.array(values) for n, values in arrays.items()
        }

    def discard(self) -> None:
        """Remove the folder; open arrays stay readable."""
        self._held.discard()

    def close(self) -> None:
        """Release the folder."""
        self._held.close()

    def _piece(self, part: str, number: int) -> Path:
        return self.folder / f"{part}-{number:06d}.npz"

    def _plan(self) -> Any:
        """The plan in the folder, or None."""
        try:
            return read_json(self.folder / _PLAN)
        except MissingError:
            return None

    def _check_own(self) -> None:
        """Refuse a folder that is not an unfinished encoding, and keep it."""
        is_ours = self.folder.is_dir() and not self.folder.is_symlink()
        if is_ours:
            try:
                plan = self._plan()
                names = [path.name for path in self.folder.iterdir()]
                is_ours = isinstance(plan, dict) or (
                    plan is None and all(map(_OURS.fullmatch, names))
                )
            except (ReadError, OSError):
                is_ours = False
        if not is_ours:
            raise InputError(
                f"{self.folder} exists, but is not an unfinished encoding; move it away, or give "
                "another `out`"
            )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Differences of two plans, in words."""
    return [
        f"the {name}"
        if isinstance(new.get(name, old.get(name)), dict)
        else f"{name} (was {old.get(name)}, now {new.get(name)})"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]


def plan_of(
    encodings: Mapping[str, Encoding], settings: Mapping[str, Any], files: Fingerprint | None
) -> dict[str, Any]:
    """Identity of an encoding: weights, data, settings and versions.

    Args:
        encodings: the rows of each split.
        settings: settings of the encoding, by name.
        files: fingerprint of the files that the data are read from, after a comparison with them.
            Without it, or for data in memory, all rows are hashed.
    """
    first = next(iter(encodings.values()))
    rows = {name: each.rows for name, each in encodings.items()}
    return {
        **settings,
        "weights": {"sha256": _sum([dict(sorted(first.pair.state_dict().items()))])},
        "data": {
            "files": None if files is None else files.to_dict(),
            "rows": {name: _digest(each, files) for name, each in rows.items()},
        },
        "labels or size factors": {name: _sum([each.beside]) for name, each in rows.items()},
        "device": first.device.type,
        "rows of a piece": encoding.PIECE,
        **{name: number for name, number in versions().items() if name != "python"},
    }


def _digest(rows: Split, files: Fingerprint | None) -> str:
    """Hash of all row numbers and of the values of all rows, or of the first and last ones."""
    numbers = torch.arange(len(rows))
    if files is not None and not isinstance(rows, InMemorySplit):
        numbers = torch.cat([numbers[:_MARKED], numbers[-_MARKED:]])
    with passing("checksum of the rows", len(numbers)) as count:
        return _sum(_looked_at(rows, numbers, count))


def _looked_at(
    rows: Split, numbers: torch.Tensor, count: Callable[[int], None]
) -> Iterator[Mapping[str, torch.Tensor]]:
    yield {"numbers": rows.annotations.numbers}
    for some in numbers.split(encoding.PIECE):
        batch = rows.take(some)
        yield {name: values for name, values in batch.items() if name in ("x", "mask")}
        count(len(some))


def _sum(batches: Iterable[Mapping[str, torch.Tensor]]) -> str:
    """The SHA-256 of tensors, with their names, types and shapes."""
    total = hashlib.sha256()
    for batch in batches:
        for name, values in batch.items():
            total.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            flat = values.detach().cpu().contiguous().view(-1)
            total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
