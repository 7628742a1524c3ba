"""Runs in memory: the same methods, no output if quiet, and no files."""

import gc
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppvae.cli.epoch_bar import EpochBar
from ppvae.data import from_arrays
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import fit
from ppvae.run import Run
from ppvae.run.store import PrivateFolder, WriteError, private_folder
from ppvae.training.epochs import writing_fit
from tests.support.fits import SMALL, differences, quick, small, table
from tests.support.forks import run_forked
from tests.support.slow import few
from tests.support.snapshots import changes, snapshot

__all__ = ["quick"]  # a fixture, used by every test here


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, with a folder in it for temporary files."""
    (tmp_path / "memory").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(private_folder, "_MEMORY", tmp_path / "memory")
    return tmp_path


def in_memory(**settings: Any) -> Run:
    return small(Path.cwd(), data=from_arrays(table()), in_memory=True, **settings)


def test_it_leaves_nothing_once_the_object_is_gone(places: Path) -> None:
    run = in_memory()
    assert [path.name for path in (places / "memory").iterdir()] == [run.path.parent.name]
    assert not (run.path / "figures").exists()
    assert not (run.path / "report.html").exists()
    del run
    gc.collect()
    assert list(places.rglob("*")) == [places / "memory"]


def test_a_fit_that_fails_leaves_nothing(places: Path) -> None:
    with pytest.raises(InputError):
        in_memory(lr=1e30)
    gc.collect()
    assert list(places.rglob("*")) == [places / "memory"]


def test_a_fit_that_is_interrupted_leaves_nothing(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(EpochBar, "step", lambda _: signal.raise_signal(signal.SIGINT))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_memory()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "stopped after 1 steps; nothing is kept" in capsys.readouterr().out
    gc.collect()
    assert list(places.rglob("*")) == [places / "memory"]


def test_memory_that_is_full_is_told_with_another_way_out() -> None:
    run = in_memory()
    with pytest.raises(InputError, match="the run is lost: give `out`"), writing_fit(run):
        raise WriteError(run.path, "no space left on device")


def test_it_is_the_run_that_a_folder_would_hold(tmp_path: Path) -> None:
    data = from_arrays(table())
    kept, run = small(tmp_path, data=data), in_memory()
    assert differences(kept.pair.state_dict(), run.pair.state_dict()) == []
    for name in ("elbo", "log_p", "best_epoch", "status"):
        assert run.summary is not None
        assert kept.summary is not None
        assert run.summary[name] == kept.summary[name]
    assert len(run.metrics()) == len(kept.metrics()) == 4
    assert run.settings == kept.settings
    assert run.audit.latents == ("z",)
    assert len(run.data().test) == len(data.test)
    codes = encode(run, data=run.data().test, samples=5)
    assert codes["loc"].shape == (len(data.test), 2)
    assert run.pair.program("model") is run.model
    assert run.pair.program("guide") is run.guide


def test_it_holds_its_data_with_the_labels_that_the_fit_saw(tmp_path: Path) -> None:
    y = np.arange(90) % 3
    run = small(tmp_path, data=from_arrays(table(), y))
    assert run.data().labels == ("0", "1", "2")
    with pytest.raises(InputError, match="passed in Python"):
        Run(run.path).data()


@pytest.mark.parametrize("where", few([{"in_memory": True}, {"out": "run"}], 2))
def test_a_quiet_fit_says_nothing_and_leaves_the_process_as_it_was(
    where: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    data = from_arrays(table())
    fit(data=data, likelihood="Gaussian", encoder=SMALL, decoder=SMALL, epochs=1, in_memory=True)
    assert "kept in memory" in capfd.readouterr().out
    before = snapshot()
    small(Path.cwd(), data=data, quiet=True, **where)
    assert not changes(before), changes(before)
    assert capfd.readouterr() == ("", "")
    small(Path.cwd(), data=data, in_memory=True)
    assert capfd.readouterr().out


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"out": "there"}, "`out` is 'there', but with `in_memory=True` a run has no files"),
        ({"devices": 2}, "`devices` is 2, but with `in_memory=True` a run has one process"),
    ],
)
def test_what_a_run_in_memory_cannot_have_is_refused(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        fit(in_memory=True, **settings)


def _be_killed() -> None:
    folder = PrivateFolder(0)
    (folder.path / "file").write_text("of a killed process")
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_by_the_next(places: Path) -> None:
    memory, living = places / "memory", PrivateFolder(0)
    run_forked(_be_killed)
    assert len(list(memory.iterdir())) == 2
    other = PrivateFolder(0)
    assert {*memory.iterdir()} == {living.path, other.path}


def test_a_process_that_is_forked_off_removes_nothing() -> None:
    folder = PrivateFolder(0)
    run_forked(folder._remove)
    assert folder.path.is_dir()


def test_without_room_in_memory_it_is_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.cwd() / "disk").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd() / "disk"))
    folder = PrivateFolder(2**60)
    assert folder.path.parent == Path.cwd() / "disk"
    assert folder.path.stat().st_mode & 0o77 == 0
    assert list(Path("memory").iterdir()) == []
