"""An encoding that is being written: ``OUT.partial/``, with each piece that is done.

A piece is there whole or not at all. Whoever encodes the same again, after a kill for instance,
goes on after the last one.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae.data import Split
from ppvae.data.stored import SMALL
from ppvae.diagnostics.encoding import Array, Encoding
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.run.store import (
    ReadError,
    check_writable,
    discard,
    is_there,
    new_map,
    plain,
    read_json,
    write_arrays,
    write_text,
)

_MARKED = 64
"""Rows at either end of the data by which they are told from others."""


class Unfinished:
    """The pieces of an encoding on disk.

    Args:
        target: the file that it will be.
        plan: what is encoded, and how: pieces of another plan are thrown away.
    """

    PLAN = "plan.json"

    def __init__(self, target: Path, plan: Mapping[str, Any]) -> None:
        self.folder = target.with_name(f"{target.name}.partial")
        self.is_other = False
        check_writable(self.folder)
        if is_there(self.folder):
            self._check_own(target)
            if self._plan() == plain(plan):
                return
            self.is_other = True
            discard(self.folder)
        write_text(self.folder / self.PLAN, _as_text(plan))

    def has(self, part: str, number: int) -> bool:
        """Whether a piece is done."""
        return is_there(self._piece(part, number))

    def write(self, part: str, number: int, found: Mapping[str, Array]) -> None:
        """Keep a piece."""
        write_arrays(self._piece(part, number), found)

    def read(self, part: str, number: int) -> dict[str, Array]:
        """A piece that is done."""
        try:
            with np.load(self._piece(part, number), allow_pickle=False) as content:
                return dict(content)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{self._piece(part, number)} cannot be read: {error}; remove it, and encode again"
            ) from error

    def gathered(self, counts: Mapping[str, int], places: Array) -> dict[str, Array]:
        """All pieces, as arrays in files of the folder.

        Args:
            counts: how many pieces each part has.
            places: at which place each row stands, of the parts one after the other.
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
        """Take all of it away; arrays that are open stay readable."""
        discard(self.folder)

    def _piece(self, part: str, number: int) -> Path:
        return self.folder / f"{part}-{number:06d}.npz"

    def _plan(self) -> object:
        try:
            return read_json(self.folder / self.PLAN)
        except (InputError, ReadError):
            return None

    def _check_own(self, target: Path) -> None:
        if not is_there(self.folder / self.PLAN):
            raise InputError(
                f"{self.folder} is there, and is no unfinished encoding; move it away, or give "
                f"another `out` than {str(target)!r}"
            )


def plan_of(encodings: Mapping[str, Encoding], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an encoding from others: the weights, the rows, and how they are encoded."""
    parts = {name: _digest(each.rows) for name, each in encodings.items()}
    pair = next(iter(encodings.values())).pair
    return {**settings, "weights": _weights(pair), "rows": parts}


def _weights(pair: Pair) -> str:
    total = hashlib.sha256()
    for name, values in sorted(pair.state_dict().items()):
        total.update(name.encode())
        total.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _digest(rows: Split) -> str:
    """Of the numbers of all rows, and of the values of the first and last."""
    total = hashlib.sha256(rows.annotations.numbers.contiguous().numpy().data)
    for batch in _ends(rows):
        for name, values in batch.items():
            total.update(name.encode())
            total.update(values.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _ends(rows: Split) -> Iterator[Mapping[str, torch.Tensor]]:
    numbers = torch.arange(len(rows))
    yield rows.take(numbers[:_MARKED])
    yield rows.take(numbers[-_MARKED:])


def _as_text(plan: Mapping[str, Any]) -> str:
    import json

    return json.dumps(plain(plan), indent=2) + "\n"
