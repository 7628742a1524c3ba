"""The folder of an unfinished encoding: its lock, its checks, and its state after a kill."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ppvae.diagnostics.unfinished import Unfinished
from ppvae.errors import InputError
from ppvae.run.store import aside
from tests.support.forks import run_forked

PLAN = {"samples": 3, "data": {"rows": "0a"}}


def killed(do: Callable[[], object]) -> None:
    """Run a function in a process that is killed afterwards."""

    def do_and_die() -> None:
        try:
            do()
        finally:
            die()

    assert run_forked(do_and_die) == -signal.SIGKILL


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_process_at_a_time_has_it(tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    first = Unfinished(file, PLAN)
    first.write("test", 0, {"loc": np.ones(2)})
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"codes\.npz is being written by this process"):
            Unfinished(file, PLAN | {"samples": overwrite}, overwrite=overwrite)
    assert first.has("test", 0)
    first.close()
    second = Unfinished(file, PLAN)
    assert second.has("test", 0)
    second.discard()
    assert names(tmp_path) == []


def test_a_kill_leaves_the_pieces_and_no_lock(tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    killed(lambda: Unfinished(file, PLAN).write("test", 0, {"loc": np.ones(2)}))
    again = Unfinished(file, PLAN)
    assert not again.is_other
    assert again.has("test", 0)
    again.discard()
    assert names(tmp_path) == []


def test_a_kill_while_it_is_taken_away_leaves_what_can_be_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"

    def discard() -> None:
        found = Unfinished(file, PLAN)
        pytest.MonkeyPatch().setattr("os.rmdir", die)  # of this process alone
        found.discard()

    killed(discard)
    assert names(tmp_path / "codes.npz.partial") == []
    Unfinished(file, PLAN).discard()
    assert names(tmp_path) == []


def test_a_kill_while_it_is_made_leaves_nothing_for_ever(tmp_path: Path) -> None:
    def make() -> None:
        pytest.MonkeyPatch().setattr("os.rmdir", die)  # of this process alone
        Unfinished(tmp_path / "codes.npz", PLAN)

    killed(make)
    assert names(tmp_path) == [".codes.npz.partial.partial", "codes.npz.partial"]
    Unfinished(tmp_path / "codes.npz", PLAN).discard()
    assert names(tmp_path) == []


def test_pieces_without_a_plan_are_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "codes.npz.partial"
    folder.mkdir()
    for name in ("test-000000.npz", ".0123456789ab.part"):
        (folder / name).write_bytes(b"")
    begun = Unfinished(tmp_path / "codes.npz", PLAN)
    assert begun.is_other
    assert names(folder) == [".lock", "plan.json"]
    begun.close()


@pytest.mark.parametrize("name", ["mine.npy", "plan.json"])
def test_what_somebody_has_there_stays_untouched(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "codes.npz.partial"
    folder.mkdir()
    (folder / name).write_text("[1]")
    with pytest.raises(InputError, match="is not an unfinished encoding"):
        Unfinished(tmp_path / "codes.npz", PLAN, overwrite=True)
    assert names(folder) == [name]


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputError("it is there already")

    Unfinished(tmp_path / "codes.npz", PLAN).close()
    for file in (tmp_path / "codes.npz", tmp_path / "new.npz"):
        with pytest.raises(InputError, match="there already"):
            Unfinished(file, PLAN, refuse=refuse)
    assert names(tmp_path) == ["codes.npz.partial"]
    Unfinished(tmp_path / "codes.npz", PLAN).close()  # nobody holds it


def test_a_kill_while_the_file_is_written_leaves_nothing_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"

    def write() -> None:
        with aside(file) as content:
            content.write(b"1")
            die()

    killed(write)
    assert names(tmp_path) == [".codes.csv.partial"]
    with aside(file) as content:
        content.write(b"2")
    assert names(tmp_path) == ["codes.csv"]
    assert file.read_bytes() == b"2"
