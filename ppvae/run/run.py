"""One fit on disk: what was fitted, to which data, and what came of it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ppvae.bounds.audit import audit
from ppvae.components.building import build_programs
from ppvae.components.kinds import KINDS
from ppvae.components.names import DEFAULTS, PARTS
from ppvae.components.resolving import resolve
from ppvae.components.spec import Spec
from ppvae.data import Batch, Data, Scaling, Split
from ppvae.data import load as load_data
from ppvae.data import load_new as load_new_data
from ppvae.data.catalogue import check_safe_to_read, files_of, is_path, named
from ppvae.data.files import ReadOnlyFolder
from ppvae.data.fingerprint import Fingerprint, fingerprint_now
from ppvae.data.labels import hide
from ppvae.data.scaling import AS_IS
from ppvae.errors import InputError
from ppvae.programs import Pair, Program
from ppvae.programs.facts import Audit
from ppvae.programs.isolation import alone
from ppvae.programs.streams import check_seed
from ppvae.run import metrics as table
from ppvae.run.checkpoints import Checkpoints
from ppvae.run.config import demand, is_shape, read_config, sealed, text_of
from ppvae.run.folder import refuse_occupied
from ppvae.run.store import (
    MissingError,
    Writer,
    bear,
    discard,
    is_there,
    load_tree,
    plain,
    read_json,
    save_tree,
    write_bytes,
    write_text,
    writing,
)

__all__ = ["Run", "load"]

EXAMPLE = "example"
"""The folder of a run that holds some rows of its data."""


class Run:
    """One fit on disk.

    Args:
        path: the run directory.
        trust: modules whose code the run may import, by name.
        checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; by default the best there is.
        model: the model itself, for a run that was fitted to an object made in Python.
        guide: the guide itself, likewise.

    Attributes:
        path: the run directory.
        config: ``config.yaml``: the settings, and under ``"run"`` what they resolved to.

    Raises:
        InputError: if there is no run there, or it is broken, or of another format.
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
        self.path = Path(path)
        self.config = read_config(self.path)
        self._folder = _identity(self.path)
        self._checkpoints = Checkpoints(self.path)
        self._table = table.Metrics(self.path)
        self._writer: Writer | None = None
        self._trust, self._wanted = tuple(trust), checkpoint
        self._handed: dict[str, Program | None] = {"model": model, "guide": guide}

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        state: Mapping[str, Any],
        example: Batch,
        *,
        overwrite: bool = False,
    ) -> "Run":
        """Make the directory, with its first checkpoint in it: whole, or not at all.

        The run is held for writing from its first moment on; see `writing`.

        Args:
            path: the run directory.
            config: ``config.yaml``.
            state: the first checkpoint.
            example: some rows of the data, on which the programs are traced when the run is opened.
            overwrite: replace a run that is there already.

        Raises:
            InputError: if something is there that may not be overwritten, or is being written.
        """

        def fill(fresh: Path) -> None:
            write_text(fresh / "config.yaml", text_of(sealed(config)))
            write_bytes(fresh / table.NAME, table.EMPTY)
            save_tree(fresh / EXAMPLE, dict(example))
            Checkpoints(fresh).save(state, table.Metrics(fresh).seal())

        writer = bear(path, fill, refuse=lambda: refuse_occupied(path, overwrite=overwrite))
        run = cls(path)
        run._writer = writer
        return run

    # What was fitted

    @property
    def settings(self) -> dict[str, Any]:
        """The settings alone, as `ppvae.fit.fit` takes them."""
        return {key: value for key, value in self.config.items() if key != "run"}

    @property
    def resolved(self) -> dict[str, Any]:
        """What the settings resolved to: format, versions, device, facts of the data."""
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
        """Both programs, with the weights of the checkpoint asked for."""
        pair = self.build()
        weights = self.state(self._wanted)["weights"]
        try:
            pair.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the weights in {self.path} are not those of its programs ({reason}); the code of "
                "the programs, or config.yaml, has changed since the fit"
            ) from error
        return pair.eval()

    def hold(self, pair: Pair, facts: Audit) -> "Run":
        """Hold programs that are there already, those that were fitted, at the best weights."""
        pair.load_state_dict(self.state(self._wanted)["weights"])
        self.__dict__ |= {"pair": pair.eval(), "audit": facts}
        return self

    @alone
    def build(self) -> Pair:
        """Both programs anew, with initial weights."""
        parts: dict[str, Spec | Program | None] = {}
        for part in DEFAULTS:
            value = self.config.get(part)
            handed = self._handed.get(part)
            if isinstance(value, Mapping) and "python_object" in value and handed is None:
                raise InputError(
                    f"the {part} of {self.path} was the Python object {value['python_object']}; "
                    f"make one like it and hand it in: ppvae.load('{self.path}', {part}=...)"
                )
            if handed is not None:
                parts[part] = handed
            elif value is not None and self._handed.get(PARTS[part]) is None:
                parts[part] = Spec.parse(value, part, trusted=False)
        latent_dim = demand(self.config, "latent_dim", int, self.path)
        dtype = torch.float64 if str(self.config.get("precision")) == "64" else torch.float32
        example = self.example()
        try:
            programs = build_programs(
                parts, latent_dim=latent_dim, data_shape=self.data_shape,
                classes=len(self.label_names or ()), covariates=self._covariates(),
                examples=example["x"], log_counts=self.resolved.get("log_counts") is True,
                trust=self._trust,
            )  # fmt: skip
            return Pair(programs.model, programs.guide, example).to(dtype)
        except (RuntimeError, TypeError, OverflowError) as error:
            if self._trust or any(program is not None for program in self._handed.values()):
                raise  # code that is not this package's: its author wants the traceback
            reason = str(error).splitlines()[0][:200]
            raise InputError(
                f"{self.path / 'config.yaml'} does not describe programs that can be made: {reason}"
            ) from error

    @cached_property
    def audit(self) -> Audit:
        """What the audit says of the programs under the run's bound."""
        choice = Spec.parse(self.config.get("elbo"), "elbo", trusted=False)
        elbo = resolve(KINDS["elbo"], choice, self._trust)
        return audit(self.pair, elbo, self.example())

    def example(self) -> Batch:
        """Some rows of the data, on which the programs are traced.

        Runs of before they were kept have zeros in the shapes of the data.
        """
        if is_there(self.path / EXAMPLE):
            return _batch(load_tree(self.path / EXAMPLE), self.path / EXAMPLE, self.data_shape)
        rows = 7  # unlike the sizes that other plates have
        batch = {"x": torch.zeros(rows, *self.data_shape)}
        extras = demand(self._facts(), "extras", dict, self.path)
        for name, entry in extras.items():
            if not isinstance(entry, dict) or not is_shape(entry.get("shape")):
                raise InputError(f"{self.path / 'config.yaml'}: {name} of the data is {entry!r}")
            dtype = {"int64": torch.int64, "bool": torch.bool}.get(
                str(entry.get("dtype")), torch.float32
            )
            batch[name] = torch.zeros(rows, *entry["shape"], dtype=dtype)
        if "mask" in batch:
            batch["mask"] = torch.ones_like(batch["mask"])
        return batch

    # The data

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one datum."""
        shape = self._facts().get("shape")
        if not is_shape(shape):
            raise InputError(f"{self.path / 'config.yaml'}: the data's shape is {shape!r}")
        return tuple(shape)

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the label codes, where the data has labels."""
        if self._facts().get("labels") is None:
            return None
        return tuple(str(name) for name in demand(self._facts(), "labels", list, self.path))

    def data(self, data_dir: Path | None = None, *, hidden: bool = True) -> Data:
        """The data of the fit, read again in the same way.

        Args:
            data_dir: where published data lie now; default: as in the fit.
            hidden: whether labels that the fit was not shown are hidden here too.

        Raises:
            InputError: if it was handed in from Python, or is no longer where it was.
        """
        name = self._data_name()
        where = data_dir or self._data_dir()
        if "torchvision" not in self._trust:
            check_safe_to_read(name, where)
        old = Fingerprint.from_dict(self._facts().get("fingerprint"))
        is_file = named(name) is None and is_path(name)
        if is_file and old is not None:
            path = Path(name)
            self._demand_fitted_to(name, old, fingerprint_now(old, path, files_of(path)))
        found = load_data(
            name,
            data_dir=where,
            label=self.config.get("label"),
            binarize=self.config.get("binarize") or "none",
            scaling=self.scaling,
        )
        if not is_file and found.source is not None:
            self._demand_fitted_to(name, old, found.source.fingerprint())
        if found.shape != self.data_shape:
            raise InputError(
                f"{name} now has data of shape {found.shape}, and the run was fitted to "
                f"{self.data_shape}; give the data it was fitted to as `data`"
            )
        keep = self.config.get("labels")
        if keep is None or not hidden:
            return found
        seed = demand(self.config, "seed", int, self.path)
        check_seed(seed)
        return hide(found, demand(self.config, "labels", int, self.path), seed)

    @property
    def scaling(self) -> Scaling:
        """How the data was scaled."""
        return Scaling.from_dict(self._facts().get("scaling"))

    def demand_fitted_to(self, data: Data) -> None:
        """Refuse data that are handed in, and are not those of the fit, where both are known."""
        old = Fingerprint.from_dict(self._facts().get("fingerprint"))
        if data.source is not None:
            self._demand_fitted_to(data.name, old, data.source.fingerprint())

    def _demand_fitted_to(self, name: str, old: Fingerprint | None, now: Fingerprint) -> None:
        if (
            old is not None
            and (old.size is None) == (now.size is None)
            and old.sha256 != now.sha256
        ):
            raise InputError(
                f"{name} is not the data that {self.path} was fitted to: that was "
                f"{old.sentence()}, and this is {now.sentence()}; give `data={name!r}` to have it "
                f"read as new data, by the scaling of the fit, or fit anew"
            )

    def demand_scaled_alike(self, split: Split) -> None:
        """Refuse rows that were scaled otherwise than those of the fit, where both are known."""
        of_intensities = split.read_as == AS_IS and self.scaling.kind != "standardized"
        if split.read_as in (None, self.scaling) or of_intensities:
            return
        raise InputError(
            f"the rows have {split.read_as.sentence()}, and {self.path} was fitted to "
            f"{self.scaling.sentence()}: take them of ppvae.data.scaled_as(data, run.scaling)"
        )

    def new_data(
        self, name: str | Path, data_dir: Path | None = None, label: str | None = None
    ) -> Split:
        """Other data, scaled and binarized as the fit's was."""
        where = data_dir or self._data_dir()
        if "torchvision" not in self._trust and isinstance(where, ReadOnlyFolder):
            check_safe_to_read(name, where)
        return load_new_data(
            name,
            scaling=self.scaling,
            shape=self.data_shape,
            data_dir=where,
            label=label,
            binarize=self.config.get("binarize") or "none",
            labels=self.label_names,
        )

    def _covariates(self) -> int:
        count = self._facts().get("covariates")
        if type(count) is not int or not 0 <= count <= 1_000_000:
            raise InputError(f"{self.path / 'config.yaml'}: covariates of the data is {count!r}")
        return count

    def _data_name(self) -> str:
        name = self.config.get("data")
        if not isinstance(name, str):
            raise InputError(
                f"the data of {self.path} was handed in from Python; save it as .npz (x, and y) "
                "and give that as `data`"
            )
        return name

    def _data_dir(self) -> Path | None:
        folder = self.config.get("data_dir")
        return None if folder is None else ReadOnlyFolder(str(folder))

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = demand(self.resolved, "data", dict, self.path)
        return facts

    # Checkpoints

    @property
    def checkpoint(self) -> str:
        """The checkpoint whose weights `pair` has: ``"step-N"``."""
        return self._checkpoints.resolve(self._wanted)

    def state(self, name: str | None = None) -> dict[str, Any]:
        """A checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; by default the best there is."""
        state = self._checkpoints.read(name)
        if _identity(self.path) != self._folder:
            raise InputError(f"{self.path} was replaced by another run meanwhile; open it again")
        return state

    # Writing: one process at a time

    def begin_writing(self) -> None:
        """Hold the run for writing, until `writing` has ended.

        Raises:
            InputError: if another process writes it, or has just done so; if something in it is a
                link.
        """
        self._writer = Writer(self.path)
        if read_config(self.path) != self.config or _identity(self.path) != self._folder:
            raise InputError(f"{self.path} was changed by another process just now; begin again")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for writing as long as this lasts."""
        if self._writer is None:
            with writing(self.path):
                yield
            return
        try:
            yield
        finally:
            self._writer.close()
            self._writer = None

    @contextmanager
    def given_back_on_failure(self) -> Iterator[None]:
        """Let others write the run if what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            raise

    def save(self, state: Mapping[str, Any], *, is_best: bool = False) -> None:
        """Write a checkpoint; see `ppvae.run.checkpoints.Checkpoints.save`."""
        self._checkpoints.save(state, self._table.seal(), is_best=is_best)

    def resumable(self, name: str = "last") -> dict[str, Any]:
        """A checkpoint that the fit can go on from: all that this needs is whole.

        Raises:
            InputError: saying what is not.
        """
        state = self.state(name)
        best = self._checkpoints.best_of(state)
        if best is not None and best != self._checkpoints.resolve(name):
            self._checkpoints.read(best)
        self._verify_metrics(name)
        return state

    def rewind(self, state: Mapping[str, Any], *, is_done: bool) -> None:
        """Bring the run to where a checkpoint was saved: what was written after it goes.

        Args:
            state: the checkpoint.
            is_done: whether no epoch is left to train; if there is one, the run has no summary.
        """
        with writing(self.path):
            self._checkpoints.rewind(state)
            self._table.cut(self._checkpoints.seal("last"))
            if not is_done:
                discard(self.path / "summary.json")

    # Figures and tables

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to ``metrics.csv``."""
        self._table.append(rows)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``, numbers as numbers and empty cells as ``None``.

        Raises:
            InputError: if some of them are lost.
        """
        while True:
            seal = self._checkpoints.seal("last")
            try:
                return self._table.read(seal)
            except InputError:  # a fit may go on from an earlier checkpoint just now
                if self._checkpoints.seal("last") == seal:
                    self._verify_metrics("last")
                    raise

    def _verify_metrics(self, name: str) -> None:
        """Refuse a table that was damaged, with the checkpoint before the damage."""
        try:
            self._table.verify(self._checkpoints.seal(name))
        except InputError as error:
            try:
                self._table.verify(self._checkpoints.seal("best"))
            except InputError:
                raise InputError(
                    f"{error}; the weights are whole, and the history is lost: fit anew to have it"
                ) from error
            raise InputError(
                f"{error}; it is whole up to the best checkpoint: go on from that by "
                f"`resume({str(self.path)!r}, checkpoint='best')`"
            ) from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace ``config.yaml``, when a resumed run is given more epochs, for instance."""
        self.config = sealed(config)
        write_text(self.path / "config.yaml", text_of(self.config))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``: the final figures."""
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


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a folder from another that takes its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _batch(tree: Any, folder: Path, shape: tuple[int, ...]) -> Batch:
    """The rows that a folder holds, if they are some."""
    is_batch = (
        isinstance(tree, dict)
        and all(isinstance(value, torch.Tensor) and value.dim() for value in tree.values())
        and "x" in tree
        and tuple(tree["x"].shape[1:]) == shape
        and len({len(value) for value in tree.values()}) == 1
    )
    if not is_batch:
        raise InputError(f"{folder} holds no rows of the run's data; it was damaged: fit anew")
    batch: Batch = tree
    return batch


@alone
def load(
    path: str | Path,
    *,
    trust: Iterable[str] = (),
    checkpoint: str | None = None,
    model: Program | None = None,
    guide: Program | None = None,
) -> Run:
    """Open a run directory; see `Run` for the arguments and for what is refused.

    Example::

        run = ppvae.load("runs/digits")
        z = run.guide(run.data().test.take(torch.arange(8))["x"])
    """
    run = Run(path, trust=trust, checkpoint=checkpoint, model=model, guide=guide)
    _ = run.pair  # whatever is wrong with it is said here, not at first use
    return run
