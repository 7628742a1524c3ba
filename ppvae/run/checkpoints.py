"""The checkpoints of a run: whole folders, and names that point at them."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppvae.errors import InputError
from ppvae.store import load_tree, save_tree, write_text

__all__ = ["Checkpoints"]


_STEP = re.compile(r"step-\d+")


def _step_name(state: Mapping[str, Any]) -> str:
    return f"step-{state['progress']['step']}"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run: its directory.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._folder = run, run / "checkpoints"

    def resolve(self, name: str | None) -> str:
        """``"step-N"`` of ``"best"``, ``"last"`` or itself; of ``None``, the best there is."""
        folder = self._folder
        if name is None:
            name = "best" if (folder / "best").is_file() else "last"
        step = name
        if name in ("best", "last"):
            if not (folder / name).is_file():
                raise InputError(f"{self._run} has no {name} checkpoint yet")
            step = (folder / name).read_text().strip()
        if not _STEP.fullmatch(step) or not (folder / step).is_dir():
            listed = ", ".join(
                sorted(f.name for f in folder.glob("*") if not f.name.startswith("."))
            )
            raise InputError(f"{self._run} has no checkpoint {step!r}; it has {listed or 'none'}")
        return step

    def read(self, name: str | None = None) -> dict[str, Any]:
        """The state that was saved under a name, as `resolve` takes it."""
        folder, step = self._folder, self.resolve(name)
        state = load_tree(folder / step)
        if not isinstance(state, dict) or not isinstance(state.get("weights"), dict):
            raise InputError(
                f"{folder / step} holds no weights; take another checkpoint of the run"
            )
        return state

    def save(self, state: Mapping[str, Any], *, is_best: bool = False) -> None:
        """Write a checkpoint, then say that it is the last (and the best), then drop older ones.

        In that order, so that the names always point at a checkpoint that is whole.
        """
        folder, step = self._folder, _step_name(state)
        if not (folder / step).exists():
            save_tree(folder / step, state)
        write_text(folder / "last", step + "\n")
        if is_best:
            write_text(folder / "best", step + "\n")
        kept = {
            (folder / name).read_text().strip()
            for name in ("last", "best")
            if (folder / name).exists()
        }
        for old in folder.glob("step-*"):
            if old.name not in kept:
                shutil.rmtree(old)
