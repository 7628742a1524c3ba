"""One fit on disk: settings, data, weights and results."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from pyro.infer import ELBO

from ppvae.bounds.audit import audit
from ppvae.components.kinds import KINDS
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.data import Batch
from ppvae.errors import InputError
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from ppvae.programs.isolation import alone
from ppvae.run import metrics as table
from ppvae.run.checkpoints import Checkpoints
from ppvae.run.config import read_config, sealed, text_of
from ppvae.run.data import RunData
from ppvae.run.folder import check_unoccupied
from ppvae.run.programs import build_pair
from ppvae.run.store import (
    MissingError,
    PrivateFolder,
    Writer,
    bear,
    discard,
    identity_of,
    load_tree,
    plain,
    read_json,
    save_tree,
    write_bytes,
    write_text,
    writing,
)

if TYPE_CHECKING:  # slow to import
    from pandas import DataFrame

EXAMPLE = "example"
"""The folder of a run with some rows of its data."""


class Run(RunData):
    """One fit on disk.

    Args:
        path: the run directory.
        trust: modules whose code the run may import, by name.
        checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; default the best one, if it exists.
        model: the model object, for a run that was fitted with one.
        guide: the guide object, for a run that was fitted with one.

    Attributes:
        path: the run directory.
        config: ``config.yaml``: the settings, and under ``"run"`` what they resolved to.
        home: for a run in memory, the folder that is removed with this object.

    Raises:
        InputError: if there is no run, or it is damaged, or has another format.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        trust: Iterable[str] = (),
        checkpoint: str | None = None,
        model: Program | None = None,
        guide: Program | None = None,
    ) -> None:
        super().__init__(Path(path), read_config(Path(path)), trust)
        self._identity = identity_of(self.path)
        self._checkpoints = Checkpoints(self.path)
        self._table = table.Metrics(self.path)
        self._writer: Writer | None = None
        self._wanted = checkpoint
        self.home: PrivateFolder | None = None
        self._handed: dict[str, Program | None] = {"model": model, "guide": guide}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        state: Mapping[str, Any],
        example: Batch,
        *,
        overwrite: bool = False,
    ) -> Self:
        """Create the directory with its first checkpoint, atomically.

        The run is locked for writing from the start; see `writing`.

        Args:
            path: the run directory.
            config: ``config.yaml``.
            state: the first checkpoint.
            example: some rows of the data, to trace the programs when the run is opened.
            overwrite: replace an existing run.

        Raises:
            InputError: if the path exists and may not be overwritten, or is being written.
        """

        def fill(fresh: Path) -> None:
            write_text(fresh / "config.yaml", text_of(sealed(config)))
            write_bytes(fresh / table.NAME, table.EMPTY)
            save_tree(fresh / EXAMPLE, dict(example))
            Checkpoints(fresh).save(state, table.Metrics(fresh).seal())

        writer = bear(path, fill, refuse=lambda: check_unoccupied(path, overwrite=overwrite))
        run = cls(path)
        run._writer = writer
        return run

    # Settings and programs

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, as arguments of `ppvae.fit.fit`."""
        return {key: value for key, value in self.config.items() if key != "run"}

    @property
    def resolved(self) -> dict[str, Any]:
        """Resolved settings: format, versions, device, facts of the data."""
        record: dict[str, Any] = self.config["run"]
        return record

    @property
    def model(self) -> Program:
        """The fitted model p(x, z)."""
        return self.pair.program("model")

    @property
    def guide(self) -> Program:
        """The fitted guide q(z | x)."""
        return self.pair.program("guide")

    @cached_property
    def pair(self) -> Pair:
        """Both programs, with the weights of the checkpoint."""
        pair = self.build()
        weights = self.state(self._wanted)["weights"]
        try:
            pair.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the weights in {self.path} do not fit its programs ({reason}); the code of "
                "the programs, or config.yaml, has changed since the fit"
            ) from error
        return pair.eval()

    def hold(self, pair: Pair, facts: Audit) -> Self:
        """Hold the fitted programs, at the best weights."""
        pair.load_state_dict(self.state(self._wanted)["weights"])
        self.__dict__ |= {"pair": pair.eval(), "audit": facts}
        return self

    @alone
    def build(self) -> Pair:
        """New programs, with initial weights."""
        return build_pair(self, self._handed, self.example(), self._trust)

    @cached_property
    def audit(self) -> Audit:
        """The audit of the programs with the run's bound."""
        return audit(self.pair, self.elbo, self.example())

    @property
    def elbo(self) -> type[ELBO]:
        """The class of the bound."""
        choice = Spec.parse(self.config.get("elbo"), "elbo", trusted=False)
        elbo: type[ELBO] = resolve(KINDS["elbo"], choice, self._trust)
        return elbo

    def example(self) -> Batch:
        """Some rows of the data, to trace the programs."""
        folder = self.path / EXAMPLE
        return _batch(load_tree(folder), folder, self.data_shape)

    # Checkpoints

    @property
    def checkpoint(self) -> str:
        """The checkpoint whose weights `pair` has: ``"step-N"``."""
        return self._checkpoints.resolve(self._wanted)

    def state(self, name: str | None = None) -> dict[str, Any]:
        """A checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; default the best, if it exists."""
        state = self._checkpoints.read(name)
        if identity_of(self.path) != self._identity:
            raise InputError(
                f"{self.path} was replaced by another run in the meantime; open it again"
            )
        return state

    # Writing: one process at a time

    def begin_writing(self) -> None:
        """Lock the run for writing, until `writing` ends.

        Raises:
            InputError: if another process writes it, or has just written it; if it contains a link.
        """
        self._writer = Writer(self.path)
        if read_config(self.path) != self.config or identity_of(self.path) != self._identity:
            raise InputError(f"{self.path} was just changed by another process; try again")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context manager that locks the run for writing."""
        if self._writer is None:
            with writing(self.path):
                yield
            return
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def given_back_on_failure(self, *, is_new: bool = False) -> Iterator[None]:
        """Context manager that unlocks the run on failure, and removes a new one."""
        try:
            yield
        except BaseException:
            self._give_back()
            if is_new:
                discard(self.path)
            raise

    def _give_back(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def save(self, state: Mapping[str, Any], *, is_best: bool = False) -> None:
        """Write a checkpoint; see `ppvae.run.checkpoints.Checkpoints.save`."""
        self._checkpoints.save(state, self._table.seal(), is_best=is_best)

    def resumable(self, name: str = "last") -> dict[str, Any]:
        """A checkpoint from which the fit can resume, after all its parts are verified.

        Raises:
            InputError: if a part is damaged.
        """
        state = self.state(name)
        best = self._checkpoints.best_of(state)
        if best is not None and best != self._checkpoints.resolve(name):
            self._checkpoints.read(best)
        self._verify_metrics(name)
        return state

    def rewind(self, state: Mapping[str, Any], *, is_done: bool) -> None:
        """Restore the run to a checkpoint, and remove what was written after it.

        Args:
            state: the checkpoint.
            is_done: whether no epoch is left to train; else the summary is removed.
        """
        with writing(self.path):
            self._checkpoints.rewind(state)
            self._table.cut(self._checkpoints.seal("last"))
            if not is_done:
                discard(self.path / "summary.json")

    # Metrics and results

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to ``metrics.csv``."""
        self._table.append(rows)

    def metrics(self) -> "DataFrame":
        """``metrics.csv``: one row per epoch and split, in nats per datum.

        Empty cells are missing values. ``active_units`` are integers or missing.

        Raises:
            InputError: if rows are lost.
        """
        return table.as_frame(self.history())

    def history(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``, numbers as numbers and empty cells as ``None``.

        Raises:
            InputError: if rows are lost.
        """
        while True:
            seal = self._checkpoints.seal("last")
            try:
                return self._table.read(seal)
            except InputError:  # a fit may just be resuming from an earlier checkpoint
                if self._checkpoints.seal("last") == seal:
                    self._verify_metrics("last")
                    raise

    def _verify_metrics(self, name: str) -> None:
        """Refuse a damaged table, with the checkpoint before the damage."""
        try:
            self._table.verify(self._checkpoints.seal(name))
        except InputError as error:
            try:
                self._table.verify(self._checkpoints.seal("best"))
            except InputError:
                raise InputError(
                    f"{error}; the weights are intact, but the history is lost: fit again to have "
                    "it"
                ) from error
            raise InputError(
                f"{error}; it is intact up to the best checkpoint: resume from there with "
                f"`resume({str(self.path)!r}, checkpoint='best')`"
            ) from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace ``config.yaml``, for example when a resumed run gets more epochs."""
        self.config = sealed(config)
        write_text(self.path / "config.yaml", text_of(self.config))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``, the final results."""
        write_text(
            self.path / "summary.json", json.dumps(plain(summary), indent=2, allow_nan=False) + "\n"
        )

    @property
    def summary(self) -> dict[str, Any] | None:
        """``summary.json``, once the fit has ended."""
        try:
            return read_json(self.path / "summary.json")
        except MissingError:
            return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems of the fit: it diverged, collapsed, was still climbing, or lost to a baseline.

        Empty unless the fit has ended and its summary can be read.
        """
        try:
            told = (self.summary or {}).get("warnings")
        except InputError:
            return ()
        return tuple(map(str, told)) if isinstance(told, list) else ()


def _batch(tree: Any, folder: Path, shape: tuple[int, ...]) -> Batch:
    """The rows in a folder."""
    is_batch = (
        isinstance(tree, dict)
        and all(isinstance(value, torch.Tensor) and value.dim() for value in tree.values())
        and "x" in tree
        and tuple(tree["x"].shape[1:]) == shape
        and len({len(value) for value in tree.values()}) == 1
    )
    if not is_batch:
        raise InputError(f"{folder} holds no rows of the run's data; it was damaged: fit again")
    batch: Batch = tree
    return batch
