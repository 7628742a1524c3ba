"""Checkpoints of a run: folders, and names that point at them.

A checkpoint is written first, then ``best`` if it is the best, then ``last``, and then older ones
are removed: whenever the process is killed, each name points at a complete checkpoint, and the fit
can resume from ``last`` as if it had not been killed.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ppvae.errors import InputError
from ppvae.run.metrics import Seal
from ppvae.run.store import (
    MissingError,
    ReadError,
    discard,
    is_there,
    load_tree,
    read_sealed,
    read_text,
    save_tree,
    write_text,
)

_STEP = re.compile(r"step-\d+")

_HISTORY = "history.json"
"""The file of a checkpoint that seals ``metrics.csv``."""


def _step_name(step: int) -> str:
    return f"step-{step}"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run: its directory.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._folder = run, run / "checkpoints"

    def resolve(self, name: str | None) -> str:
        """``"step-N"`` for ``"best"``, ``"last"`` or itself; for ``None``, the best if it exists.

        Raises:
            InputError: if there is none of that name, or the best one is missing.
        """
        if name is None:
            name = "best" if is_there(self._folder / "best") else "last"
            if name == "last":
                self._check_no_best()
        step = name
        if name in ("best", "last"):
            try:
                step = read_text(self._folder / name).strip()
            except MissingError as error:
                raise InputError(f"{self._run} has no {name} checkpoint{self._others()}") from error
        if not _STEP.fullmatch(step) or not is_there(self._folder / step):
            raise InputError(f"{self._run} has no checkpoint {step!r}{self._others()}")
        return step

    def read(self, name: str | None = None) -> dict[str, Any]:
        """The state that was saved under a name, as `resolve` takes it.

        Raises:
            InputError: if it is damaged, with another intact one.
        """
        state = self._steadily(name, load_tree)
        if not isinstance(state, dict) or not isinstance(state.get("weights"), dict):
            raise InputError(
                f"{self._folder / self.resolve(name)} holds no weights{self._others(name)}"
            )
        if name in (None, "best"):
            self._check_best(state)
        return state

    def seal(self, name: str) -> Seal:
        """The seal of ``metrics.csv`` at a checkpoint.

        Raises:
            InputError: if the checkpoint has none.
        """

        def read(folder: Path) -> Seal:
            try:
                said = json.loads(read_sealed(folder, _HISTORY))
                seal = Seal(**said)
            except (ValueError, TypeError, RecursionError) as error:
                reason = str(error).splitlines()[0]
                raise ReadError(f"{folder} cannot be read as a checkpoint ({reason})") from error
            if type(seal.size) is not int or seal.size < 0 or not isinstance(seal.sha256, str):
                raise ReadError(f"{folder / _HISTORY} is {said}: it was damaged")
            return seal

        return self._steadily(name, read)

    def save(self, state: Mapping[str, Any], seal: Seal, *, is_best: bool = False) -> None:
        """Write a checkpoint, then the names that point at it, then drop older ones."""
        step = _step_name(state["progress"]["step"])
        if not is_there(self._folder / step):
            history = json.dumps(seal._asdict()).encode()
            save_tree(self._folder / step, state, {_HISTORY: history})
        if is_best:
            self._point("best", step)
        self._point("last", step)
        self._drop_others()

    def best_of(self, state: Mapping[str, Any]) -> str | None:
        """The best checkpoint according to a state; ``None`` if there was none yet."""
        progress = state.get("progress")
        step = progress.get("best_step") if isinstance(progress, Mapping) else None
        return _step_name(step) if type(step) is int else None

    def rewind(self, state: Mapping[str, Any]) -> None:
        """Restore the names as of a saved state, and remove other checkpoints."""
        self._point("last", _step_name(state["progress"]["step"]))
        best = self.best_of(state)
        if best is None:
            discard(self._folder / "best")
        else:
            self._point("best", best)
        self._drop_others()

    def _point(self, name: str, step: str) -> None:
        file = self._folder / name
        if not is_there(file) or read_text(file) != step + "\n":
            write_text(file, step + "\n")

    def _drop_others(self) -> None:
        names = [name for name in ("last", "best") if is_there(self._folder / name)]
        kept = {read_text(self._folder / name).strip() for name in names}
        for name in sorted(os.listdir(self._folder)):  # noqa: PTH208  # names are all that counts
            if _STEP.fullmatch(name) and name not in kept:
                discard(self._folder / name)

    def _steadily[T](self, name: str | None, read: Callable[[Path], T]) -> T:
        """Read a checkpoint that a fit may replace at the same time."""
        while True:
            step = self.resolve(name)
            try:
                return read(self._folder / step)
            except ReadError as error:
                if self.resolve(name) == step:
                    raise InputError(f"{error}{self._others(name)}") from error

    def _check_no_best(self) -> None:
        """Refuse to read the last checkpoint if there was a best one."""
        state = self._steadily("last", load_tree)
        best = self.best_of(state) if isinstance(state, dict) else None
        if best is not None and not is_there(self._folder / "best"):
            raise InputError(
                f"{self._folder / 'best'} is missing: it named {best}; take `checkpoint='last'`, "
                "which is intact, or fit again"
            )

    def _check_best(self, state: Mapping[str, Any]) -> None:
        """Refuse a checkpoint named ``best`` that was not the best when it was saved."""
        if not is_there(self._folder / "best"):
            return
        progress = state.get("progress")
        own = progress.get("step") if isinstance(progress, Mapping) else None
        if type(own) is int and self.best_of(state) != _step_name(own):
            raise InputError(
                f"{self._folder / 'best'} names {_step_name(own)}, which was not the best: it was "
                f"damaged{self._others('best')}"
            )

    def _others(self, name: str | None = None) -> str:
        """Other checkpoints than a missing one, as the end of a sentence."""
        for other in ("last", "best"):
            if other == (name or "best"):
                continue
            try:
                step = read_text(self._folder / other).strip()
                if _STEP.fullmatch(step):
                    load_tree(self._folder / step)
                    return (
                        f"; {other} ({step}) is intact: take `checkpoint={other!r}`, or fit again"
                    )
            except InputError:
                continue
        return "; no other is intact: fit again"
