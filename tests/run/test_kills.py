"""A kill or a full disk at any operation of the store, then a resume: nothing is lost or mixed.

The result is bit by bit that of the undisturbed command, except for times.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import yaml
from PIL import Image

import ppvae
from ppvae.diagnose import diagnose
from ppvae.diagnostics import questions
from ppvae.fit import resume
from ppvae.run import Run
from ppvae.run.store import load_tree
from tests.commands.test_diagnose import TINY
from tests.support.fits import leaves, small
from tests.support.kills import states
from tests.support.slow import few


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and pages of a few bytes that depend on their content."""
    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    monkeypatch.setattr("ppvae.plots.png", lambda _: picture.getvalue())
    monkeypatch.setattr("ppvae.plots.svg", lambda _: b"<svg></svg>")
    monkeypatch.setattr("ppvae.report.page._render", _page)
    monkeypatch.setattr("ppvae.training.evaluation_schedule.DRAWS", 1)
    monkeypatch.setattr("ppvae.training.summary.DRAWS", 1)


def _page(material: Any) -> str:
    summary = {key: value for key, value in material.summary.items() if key != "seconds"}
    return json.dumps([summary, material.run.checkpoint, material.diagnosis])


# Comparison


def timeless(run: Path) -> dict[str, Any]:
    """The files of a run without times, and the content of its checkpoints."""
    found: dict[str, Any] = {}
    for file in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(file.relative_to(run))
        if name == ".lock" or file.name in ("SHA256SUMS", "history.json", "tensors.safetensors"):
            continue
        if file.name == "tree.json":
            found[name] = _values(load_tree(file.parent))
        elif name == "metrics.csv":
            rows = csv.DictReader(file.read_text().splitlines())
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif name == "summary.json":
            found[name] = json.loads(file.read_text()) | {"seconds": None}
        elif name == "config.yaml":
            facts = (config := yaml.safe_load(file.read_text()))["run"]
            facts["began"] = facts["digest"] = None
            found[name] = config
        elif file.suffix == ".nc":
            found[name] = _tree(file)
        elif file.suffix == ".npz":
            with np.load(file) as arrays:
                found[name] = {key: arrays[key].tobytes() for key in arrays}
        else:
            found[name] = file.read_bytes()
    return found


def _values(tree: Any) -> dict[str, Any]:
    return {
        path: (str(value.dtype), value.tolist()) if hasattr(value, "dtype") else value
        for path, value in leaves(tree)
        if not path.endswith("/seconds")
    }


def _tree(file: Path) -> dict[str, Any]:
    with xarray.open_datatree(file, engine="h5netcdf") as tree:
        return {
            f"{node.path}/{name}": values.values.tobytes()
            for node in tree.subtree
            for name, values in node.variables.items()
            if values.dtype != object
        }


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


# Killed commands


@dataclass
class Case:
    """A command, and what a user does after it was killed.

    Attributes:
        prepare: creates the initial files, given the folder.
        command: the command that is killed.
        again: the command afterwards.
        every: the default tests kill at every so many operations.
        has_swap: whether the system can exchange two folders.
    """

    prepare: Callable[[Path], object]
    command: Callable[[Path], object]
    again: Callable[[Path], object]
    every: int = 149
    has_swap: bool = True


FIT: dict[str, Any] = {"epochs": 3, "lr": 0.05}


def _fit(home: Path, **more: Any) -> Run:
    home.mkdir(exist_ok=True)
    return small(DATA, str(home / "run"), **(FIT | more))


DATA = Path()
"""The folder of the data, the same for all copies of a run."""


def _go_on(home: Path) -> None:
    """Resume the run if there is one, else start it."""
    if (home / "run").exists() or (home / ".run.partial" / "old").exists():
        ppvae.load(home / "run")
        resume(home / "run")
    else:
        _fit(home)


def _overwrite_again(home: Path) -> None:
    run = ppvae.load(home / "run")
    if run.config["seed"] == 0:
        resume(home / "run")
        return
    assert not differing(timeless(home / "run"), OLD)
    _fit(home, epochs=1, overwrite=True)


OLD: dict[str, Any] = {}


def _old(home: Path) -> None:
    _fit(home, epochs=1, seed=1)
    OLD.clear()
    OLD.update(timeless(home / "run"))


def _resume(home: Path) -> None:
    ppvae.load(home / "run").history()
    resume(home / "run", epochs=3)


def _diagnosed(home: Path) -> None:
    """An earlier diagnosis with a picture that the next one does not draw."""
    _fit(home)
    diagnose(home / "run", quick=True)
    record = json.loads((home / "run" / "diagnostics.json").read_text())
    record["figures"].append({"name": "stale", "alt": "Of another diagnosis."})
    (home / "run" / "diagnostics.json").write_text(json.dumps(record))
    (home / "run" / "figures" / "stale.png").write_bytes(b"")


def _diagnose(home: Path) -> None:
    ppvae.load(home / "run")
    diagnose(home / "run", quick=True, overwrite=True)


CASES = {
    "fit": Case(lambda home: home.mkdir(), _fit, _go_on),
    "resume": Case(lambda home: _fit(home, epochs=1), _resume, _resume),
    "overwrite": Case(_old, lambda home: _fit(home, epochs=1, overwrite=True), _overwrite_again),
    "overwrite in two steps": Case(
        _old, lambda home: _fit(home, epochs=1, overwrite=True), _overwrite_again, has_swap=False
    ),
    "diagnose": Case(_fit, _diagnose, _diagnose, every=31),
    "diagnose again": Case(_diagnosed, _diagnose, _diagnose, every=31),
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "DATA", tmp_path)
    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", TINY)
    ask = questions.ask_questions
    monkeypatch.setattr(
        questions, "ask_questions", lambda context, _, *more: ask(context, ["bound"], *more)
    )
    tree = bytes(xarray.DataTree().to_netcdf(None, engine="h5netcdf"))
    monkeypatch.setattr("ppvae.diagnose._posterior", lambda *_: tree)


def _killed(name: str, tmp_path: Path, every: int) -> None:
    case, home = CASES[name], tmp_path / "home"
    case.prepare(home)
    left, operations = states(
        home, tmp_path / "states", lambda: case.command(home), every, has_swap=case.has_swap
    )
    wanted = timeless(home / "run")
    print(f"{name}: {operations} operations of the store, {len(left)} states on the disk tried")
    assert len(left) > 1
    for state in left:
        case.again(state)
        assert differing(timeless(state / "run"), wanted) == [], state.parent.name
        assert [path.name for path in state.iterdir()] == ["run"], state.parent.name
        assert not (state / "run" / ".partial").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", few(CASES, 6))
def test_after_some_kills_all_is_as_if_there_had_been_none(name: str, tmp_path: Path) -> None:
    _killed(name, tmp_path, CASES[name].every)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", CASES)
def test_after_any_kill_all_is_as_if_there_had_been_none(name: str, tmp_path: Path) -> None:
    _killed(name, tmp_path, 1)
