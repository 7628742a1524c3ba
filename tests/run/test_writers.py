"""One writer per run: a second one is refused until the first has ended; links are not followed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ppvae
from ppvae.diagnose import diagnose
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.report import report
from ppvae.run import Run
from ppvae.run.figures import save
from ppvae.run.store import (
    append_bytes,
    bear,
    discard,
    load_tree,
    new_folder,
    write_bytes,
    write_text,
    writing,
)
from ppvae.sample import sample
from ppvae.training import epochs as training
from tests.support.fits import quick, small, small_flags
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

HOLD = """
import sys, time
from pathlib import Path
from ppvae.run.store import Writer
writer = Writer(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def once() -> list[Path]:
    """The fit that all tests of this file use, fitted once."""
    return []


@pytest.fixture
def run(tmp_path: Path, once: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not once:
        once.append(small(tmp_path_factory.mktemp("once"), epochs=1).path)
    shutil.copytree(once[0], tmp_path / "run")
    return tmp_path / "run"


COMMANDS: dict[str, Callable[[Path], object]] = {
    "resume": lambda run: resume(run, epochs=2),
    "overwrite": lambda run: small(run.parent, overwrite=True),
    "diagnose": lambda run: diagnose(run, quick=True),
    "encode": lambda run: encode(run),
    "sample": lambda run: sample(run),
    "report": lambda run: report(ppvae.load(run)),
}


def test_while_one_writes_others_are_refused_until_it_is_dead(run: Path, tmp_path: Path) -> None:
    holder = [sys.executable, "-W", "ignore", "-c", HOLD, str(run)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        refusal = f"{run} is being written by process {process.pid}"
        for command in COMMANDS.values():
            with pytest.raises(InputError, match=refusal):
                command(run)
        assert ppvae.load(run).history()  # readers do not wait
        encode(run, out=tmp_path / "elsewhere.npz")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(resume(run, epochs=2).history()) == 4


def test_a_second_fit_to_one_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first creates its run, and while it trains."""
    tried = []

    def second() -> None:
        tried.append(True)
        with pytest.raises(InputError, match=r"run is being written by this process|holds a run"):
            small(tmp_path, overwrite=bool(len(tried) % 2))

    place, train = new_folder._place, training.train

    def before_place(*args: Any, **kwargs: Any) -> None:
        if not tried:
            second()
        place(*args, **kwargs)

    def before_train(*args: Any, **kwargs: Any) -> int:
        if len(tried) == 1:
            second()
        return train(*args, **kwargs)

    monkeypatch.setattr("ppvae.run.store.new_folder._place", before_place)
    monkeypatch.setattr("ppvae.fit.train", before_train)
    first = small(tmp_path)
    assert len(tried) == 2
    assert len(first.history()) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "x.npy"]


@pytest.mark.slow
def test_of_two_fits_at_once_one_wins(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "ppvae.fit", *small_flags(tmp_path)]
    command += ["--epochs", "50"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    (refused,) = (text for text, process in zip(said, both, strict=True) if process.returncode)
    assert refused.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in refused
    assert len(ppvae.load(tmp_path / "run").history()) == 100


def test_another_thread_is_another_writer(run: Path) -> None:
    caught: list[InputError] = []

    def other() -> None:
        try:
            write_text(run / "summary.json", "{}")
        except InputError as error:
            caught.append(error)

    with writing(run):
        with writing(run):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "is being written by this process" in str(caught[0])
    other()
    assert len(caught) == 1


# Links


def snapshot(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "name",
    few(["figures", "checkpoints", "samples", "tensorboard", "trackers", "metrics.csv",
         "summary.json", "config.yaml", ".lock", ".partial", "report.html", "diagnostics.json",
         "checkpoints/step-3", "checkpoints/last"], 3),
)  # fmt: skip
def test_nothing_is_written_or_removed_through_a_link(name: str, run: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    target, link = home / Path(name).name, run / name
    if link.exists():
        link.rename(target)
    elif "." in name.removeprefix("."):
        target.write_text("mine")
    else:
        target.mkdir()
    folder = target if target.is_dir() else home
    for hidden in (".summary.json-x1", ".step-9-x2"):
        (folder / hidden).mkdir()
        (folder / hidden / "mine").write_text("mine")
    link.symlink_to(target)
    before = snapshot(home)
    for command in (COMMANDS[each] for each in ("resume", "encode", "report")):
        with pytest.raises(InputError, match=r"link") as caught:
            command(run)
        assert name in str(caught.value)
    assert snapshot(home) == before
    assert link.is_symlink()


def test_a_folder_that_is_dropped_takes_no_links_target_with_it(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine").write_text("mine")
    stray = run / "strays"
    stray.mkdir()
    (stray / "link").symlink_to(kept)
    discard(stray)
    assert not stray.exists()
    assert (kept / "mine").read_text() == "mine"


def test_scratch_of_others_beside_a_new_run_stays(tmp_path: Path) -> None:
    mine = tmp_path / ".run.partial"
    mine.mkdir()
    (mine / "mine").write_text("mine")
    with pytest.raises(InputError, match=r"\.run\.partial is in the way"):
        small(tmp_path, epochs=1)
    assert (mine / "mine").read_text() == "mine"
    assert not (tmp_path / "run").exists()


# Modes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("umask", "file", "folder"), few([(0o022, 0o644, 0o755), (0o002, 0o664, 0o775)], 2)
)
def test_modes_follow_the_umask(umask: int, file: int, folder: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        run = small(tmp_path, epochs=1, tensorboard=True)
        sample(run)
        encode(run)
    finally:
        os.umask(before)
    for path in (run.path, *run.path.rglob("*")):
        wanted = folder if path.is_dir() else file
        assert path.stat().st_mode & 0o777 == wanted, path


# One file at a time


def fail(*_: object) -> None:
    raise RuntimeError


def test_an_exception_leaves_the_old_in_place(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "file", "no bytes")  # type: ignore[arg-type]  # so that it fails
    with pytest.raises(RuntimeError):
        bear(tmp_path / "folder", fail, refuse=lambda: None)
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_appended_is_at_the_end(tmp_path: Path) -> None:
    for data in (b"a", b"b", b"c"):
        append_bytes(tmp_path / "new" / "file", data)
    assert (tmp_path / "new" / "file").read_bytes() == b"abc"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe cannot be written"):
        append_bytes(tmp_path / "pipe", b"a")


def test_a_reader_is_not_misled_by_a_run_that_is_replaced(run: Path, tmp_path: Path) -> None:
    opened = Run(run)
    small(tmp_path, overwrite=True, seed=1)
    with pytest.raises(InputError, match="was replaced by another run in the meantime"):
        _ = opened.pair
    assert ppvae.load(run).config["seed"] == 1


def test_a_reader_goes_after_a_checkpoint_that_is_replaced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is removed between the reading of its name and of its files."""
    real, calls = load_tree, []

    def late(folder: Path) -> object:
        calls.append(folder.name)
        if len(calls) == 1:
            with monkeypatch.context() as patch:
                patch.setattr("ppvae.run.checkpoints.load_tree", real)
                resume(run, epochs=2)
        return real(folder)

    monkeypatch.setattr("ppvae.run.checkpoints.load_tree", late)
    state = Run(run).state("last")
    assert calls == ["step-3", "step-6"]
    assert state["progress"]["step"] == 6


def test_a_picture_is_written_where_there_is_no_folder_yet(tmp_path: Path) -> None:
    from ppvae import plots

    save(plots.samples(np.zeros((4, 2, 2))), tmp_path / "new" / "picture.png")
    assert (tmp_path / "new" / "picture.png").is_file()
