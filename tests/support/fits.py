"""Small fits for the tests, without slow parts."""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from numpy.typing import NDArray

from ppvae.cli.epoch_bar import EpochBar
from ppvae.diagnostics import Baselines
from ppvae.fit import fit
from ppvae.fitted import Run
from ppvae.run.store import load_tree, sums

SMALL: dict[str, Any] = {"class_path": "MLP", "init_args": {"hidden": [16]}}
ROWS = 90  # 72 of them train: 3 batches of 32, the last of 8


def leave_out_slow_parts(patch: pytest.MonkeyPatch) -> None:
    """No pictures, page nor baselines, and one draw behind each figure: the slow parts."""
    patch.setattr("ppvae.report.figures.draw", lambda *_: [])
    patch.setattr("ppvae.report.figures.attempt", lambda *_, **__: None)
    patch.setattr("ppvae.report.attempt", lambda *_, **__: "")
    nothing = Baselines("log p(x)", {}, {})
    patch.setattr("ppvae.training.summary.compare_baselines", lambda *_, **__: nothing)
    patch.setattr("ppvae.training.evaluation_schedule.DRAWS", 1)
    patch.setattr("ppvae.training.summary.DRAWS", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, page nor baselines, and one draw behind each figure: the slow parts."""
    leave_out_slow_parts(monkeypatch)


def table(rows: int = ROWS, columns: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """A table with correlated columns."""
    generator = np.random.default_rng(seed)
    code = generator.normal(size=(rows, 1))
    noise = generator.normal(size=(rows, columns))
    return (code + 0.3 * noise).astype(np.float32)


def table_file(folder: Path, name: str = "x.npy") -> Path:
    """The table as a file, written once."""
    path = folder / name
    if not path.exists():
        np.save(path, table())
    return path


def small(folder: Path, out: str | None = "run", **settings: Any) -> Run:
    """A fit of the table in ``folder``, with small settings, overridden by ``settings``."""
    if "data" not in settings:
        settings["data"] = table_file(folder)
    defaults: dict[str, Any] = {
        "likelihood": "Gaussian", "decoder": SMALL, "encoder": SMALL, "latent_dim": 2,
        "batch_size": 32, "epochs": 2, "device": "cpu", "schedule": None,
        "out": None if out is None or settings.get("in_memory") else folder / out,
        "evaluate_every": 1,
    }  # fmt: skip
    chosen = {k: v for k, v in (defaults | settings).items() if v is not ...}
    return fit(**chosen)


def small_copy(folder: Path, out: str = "run", **settings: Any) -> Path:
    """A copy of a ``small`` fit that is fitted once per process, for tests of later steps.

    Its data are not in ``folder``. Settings are plain values, as those of a command line.
    """
    shutil.copytree(_made_once(json.dumps(settings)), folder / out)
    return folder / out


@cache
def _made_once(settings: str) -> Path:
    folder = Path(_folder().name) / hashlib.sha256(settings.encode()).hexdigest()
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        return small(folder, **json.loads(settings)).path


@cache
def _folder() -> "TemporaryDirectory[str]":
    """A folder that is removed when the process ends."""
    return TemporaryDirectory()


def small_flags(folder: Path, out: str = "run") -> list[str]:
    """The same fit as a command line."""
    return [
        "--data", str(table_file(folder)), "--likelihood", "Gaussian", "--latent-dim", "2",
        "--decoder", "MLP", "--decoder.hidden", "16", "--encoder", "MLP", "--encoder.hidden", "16",
        "--batch-size", "32",
        "--epochs", "2", "--device", "cpu", "--out", str(folder / out), "--schedule", "none",
        "--evaluate-every", "1",
    ]  # fmt: skip


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    """The content of a checkpoint."""
    folder = run / "checkpoints"
    tree: dict[str, Any] = load_tree(folder / (folder / name).read_text().strip())
    return tree


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a tree, by its path."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from leaves(value, f"{path}/{i}")
    else:
        yield path, node


def differences(a: Any, b: Any) -> list[str]:
    """Paths at which two trees are not the same bit by bit."""
    one, other = dict(leaves(a)), dict(leaves(b))
    found = sorted(one.keys() ^ other.keys())
    for path in one.keys() & other.keys():
        x, y = one[path], other[path]
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            same = x.dtype == y.dtype and torch.equal(x, y)
        else:
            same = bool(x == y) or (x != x and y != y)
        if not same:
            found.append(path)
    return found


def weights(run: Path, name: str = "last") -> dict[str, Any]:
    """The weights of a checkpoint."""
    found: dict[str, Any] = checkpoint(run, name)["weights"]
    return found


def figures(run: Path | Run) -> list[dict[str, Any]]:
    """The rows of ``metrics.csv``, without the column of times."""
    opened = run if isinstance(run, Run) else Run(run)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in opened.history()]


def future(run: Path, name: str = "last") -> dict[str, Any]:
    """A checkpoint without its timings."""
    state = checkpoint(run, name)
    timed = ("seconds", "compile_seconds")
    state["progress"] = {k: v for k, v in state["progress"].items() if k not in timed}
    return state


def rewrite_config(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``config.yaml`` as a user would, with its digest removed."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["run"].pop("digest", None)
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def reseal(step: Path) -> None:
    """Give a changed checkpoint valid digests, as an attacker may."""
    names = ("tensors.safetensors", "tree.json", "history.json")
    files = {name: (step / name).read_bytes() for name in names if (step / name).is_file()}
    (step / "SHA256SUMS").write_bytes(sums(files))


def rewrite_metrics(run: Path, text: str) -> None:
    """Give a run another ``metrics.csv`` with valid seals in its checkpoints."""
    data = text.encode()
    (run / "metrics.csv").write_bytes(data)
    seal = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for step in (run / "checkpoints").glob("step-*"):
        (step / "history.json").write_text(json.dumps(seal))
        reseal(step)


def program(x: torch.Tensor) -> None:
    """A model that takes no parts."""
    scale = pyro.param("scale", torch.ones(()))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True) * scale, 1.0).to_event(1), obs=x)


def interrupt(monkeypatch: pytest.MonkeyPatch, number: int, after: int) -> None:
    """Send the signal ``number`` after a number of steps."""
    taken = 0
    before = EpochBar.step

    def step(self: EpochBar) -> None:
        nonlocal taken
        before(self)
        taken += 1
        if taken == after:
            signal.raise_signal(number)

    monkeypatch.setattr(EpochBar, "step", step)
