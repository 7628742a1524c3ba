"""The checkpoints of a run: whole folders, and names that point at them.

A checkpoint is written first, then ``best``, if it is that, then ``last``, and then older ones go:
whenever the process is killed, each name points at a checkpoint that is whole, and the fit goes on
from ``last`` as if it had not been killed.
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
"""What a checkpoint keeps of ``metrics.csv``."""


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
        """``"step-N"`` of ``"best"``, ``"last"`` or itself; of ``None``, the best there is.

        Raises:
            InputError: if there is none of that name, or there was a best one, which is missing.
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
            InputError: if it is damaged, with another that is whole.
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
        """What ``metrics.csv`` was at a checkpoint.

        Raises:
            InputError: if the checkpoint does not say.
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
        """The best checkpoint as a state knows it; ``None`` if there was none yet."""
        progress = state.get("progress")
        step = progress.get("best_step") if isinstance(progress, Mapping) else None
        return _step_name(step) if type(step) is int else None

    def rewind(self, state: Mapping[str, Any]) -> None:
        """Have the names point where they did when a state was saved, and drop all else."""
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
        """Read a checkpoint, although a fit may replace it at the same time."""
        while True:
            step = self.resolve(name)
            try:
                return read(self._folder / step)
            except ReadError as error:
                if self.resolve(name) == step:
                    raise InputError(f"{error}{self._others(name)}") from error

    def _check_no_best(self) -> None:
        """Refuse to read a fit at its last if it has had a best."""
        state = self._steadily("last", load_tree)
        best = self.best_of(state) if isinstance(state, dict) else None
        if best is not None and not is_there(self._folder / "best"):
            raise InputError(
                f"{self._folder / 'best'} is missing: it named {best}; take `checkpoint='last'`, "
                "which is whole, or fit anew"
            )

    def _check_best(self, state: Mapping[str, Any]) -> None:
        """Refuse what ``best`` names if it was not the best when it was saved."""
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
        """What there is beside a checkpoint that cannot be had, as the end of a sentence."""
        for other in ("last", "best"):
            if other == (name or "best"):
                continue
            try:
                step = read_text(self._folder / other).strip()
                if _STEP.fullmatch(step):
                    load_tree(self._folder / step)
                    return f"; {other} ({step}) is whole: take `checkpoint={other!r}`, or fit anew"
            except InputError:
                continue
        return "; no other is whole: fit anew"
