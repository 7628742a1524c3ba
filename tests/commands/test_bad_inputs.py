"""Every input of ``bad_inputs.txt`` is refused in one sentence, and leaves no files."""

import importlib
import os
import re
import shlex
import shutil
import signal
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from ppvae.cli.answering import answer
from tests.support.bad_files import made, typed
from tests.support.fits import quick
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

FILE = Path(__file__).parents[1] / "support" / "bad_inputs.txt"

LINES = [line for line in FILE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
SECONDS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of all tests, so that runs are fitted once."""
    return tmp_path_factory.mktemp("inputs")


def _content(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with its time and size, and every folder."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        is_folder = stat.S_ISDIR(facts.st_mode)  # its time changes with the lock on a run
        found[str(path)] = (0, 0) if is_folder else (facts.st_mtime_ns, facts.st_size)
    return found


@contextmanager
def _changes(folder: Path) -> Iterator[list[str]]:
    """Files created, changed or removed in this context; created ones are removed at the end."""
    changed: list[str] = []
    before = _content(folder)
    try:
        yield changed
    finally:
        after = _content(folder)
        changed += [p for p in before.keys() | after.keys() if before.get(p) != after.get(p)]
        for made_here in after.keys() - before.keys():
            path = Path(made_here)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _in_time() -> Iterator[None]:
    """End a command that hangs."""

    def end(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"nothing was said within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_named(word: str, sentence: str) -> bool:
    """Whether the sentence contains the word as a whole, in any spelling of its flag."""
    word, sentence = word.replace("_", "-"), sentence.replace("_", "-")
    more = r"(\.0)?" if re.fullmatch(r"-?\d+", word) else ""  # 3 may be printed as 3.0
    return re.search(rf"(?<!\w){re.escape(word)}{more}(?!\w|\.\d)", sentence) is not None


@pytest.mark.parametrize("line", few(LINES, 5))
def test_a_bad_input_is_refused_in_a_sentence_that_names_it(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if ("{sealed}" in line or "{unreadable}" in line) and os.geteuid() == 0:
        pytest.skip("root reads and writes everything")
    monkeypatch.chdir(folder)
    command, _, named = line.rpartition(" | ")
    name, *argv = typed(command)
    words = [re.sub(r"\{(\w+)\}", lambda found: made(found[1]), w) for w in shlex.split(named)]
    main = importlib.import_module(f"ppvae.{name}").main
    with _changes(folder) as changed:
        capsys.readouterr()
        with warnings.catch_warnings(record=True) as warned, _in_time():
            warnings.simplefilter("always")
            with pytest.raises(SystemExit) as left:
                answer(main, argv)
        told = capsys.readouterr().err.splitlines()
    # Opening these short runs warns that the fit was still climbing.
    told = [each for each in told if not each.startswith("warning: ")]
    assert left.value.code == 2, told
    assert len(told) == 1, told
    assert told[0].startswith("error: ")
    missing = [word for word in words if not _is_named(word, told[0])]
    assert not missing, f"{missing} not in: {told[0]}"
    assert [str(warning.message) for warning in warned] == []
    assert changed == []
