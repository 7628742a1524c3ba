"""The default folder of a run."""

from pathlib import Path

import pytest

from ppvae.errors import InputError
from ppvae.run.folder import free_folder, in_free_folder
from ppvae.run.store import WriteError, bear, write_text

STEM = "digits-20260101-120000"


@pytest.fixture(autouse=True)
def at_noon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new folder even if the clock stands still."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-120000")


def make(path: Path) -> Path:
    def refuse() -> None:
        if path.exists():
            raise InputError("it is there")

    bear(path, lambda fresh: write_text(fresh / "file", "x"), refuse=refuse, is_run=False)
    return path


def test_runs_within_a_second_have_a_folder_each() -> None:
    names = [in_free_folder("digits", make).name for _ in range(3)]
    assert names == [STEM, f"{STEM}-1", f"{STEM}-2"]
    assert free_folder(Path("runs"), "digits").name == f"{STEM}-3"


def test_a_folder_that_another_process_takes_meanwhile_is_passed_over() -> None:
    def create(path: Path) -> Path:
        if path.name == STEM:
            make(path)  # by another process, between the look and the step
        return make(path)

    assert in_free_folder("digits", create).name == f"{STEM}-1"


def test_a_folder_that_cannot_be_made_is_said_at_once() -> None:
    tried = []

    def create(path: Path) -> Path:
        tried.append(path)
        raise WriteError(path, "no space left on device")

    with pytest.raises(WriteError, match="no space left"):
        in_free_folder("digits", create)
    assert len(tried) == 1


def test_what_is_wrong_with_every_folder_is_said_in_the_end() -> None:
    def create(path: Path) -> Path:
        raise InputError("runs is somebody else's")

    with pytest.raises(InputError, match="somebody else's"):
        in_free_folder("digits", create)
