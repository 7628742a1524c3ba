"""A full disk: one error message, no partial files, and earlier files intact."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import ppvae
from ppvae import encode as encoding
from ppvae import fit as fitting
from ppvae import sample as sampling
from ppvae.cli.answering import answer
from ppvae.diagnose import diagnose
from ppvae.diagnostics import questions
from ppvae.encode import encode
from ppvae.fit import resume
from ppvae.report import report
from ppvae.run.store import WriteError
from ppvae.sample import sample
from tests.support.fits import differences, figures, future, quick, small, small_flags
from tests.support.kills import counted, full_from
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here


def refused(
    command: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str], *argv: str | Path
) -> str:
    """The error message at the end of a command's output."""
    with pytest.raises(SystemExit) as left:
        answer(command, [str(word) for word in argv])
    assert left.value.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("error: ")
    return sentence


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagnosis of one question with an empty tree, and pictures of a few bytes."""
    ask = questions.ask_questions
    monkeypatch.setattr(
        questions, "ask_questions", lambda context, _, *more: ask(context, ["bound"], *more)
    )
    monkeypatch.setattr("ppvae.diagnose._posterior", lambda *_: b"a tree")
    monkeypatch.setattr("ppvae.plots.png", lambda _: b"\x89PNG")
    monkeypatch.setattr("ppvae.plots.svg", lambda _: b"<svg></svg>")
    monkeypatch.setattr("ppvae.report.page._render", lambda _: "page")


COMMANDS: dict[str, Callable[[Path], object]] = {
    "fit": lambda home: small(home),
    "overwrite": lambda home: small(home, overwrite=True),
    "resume": lambda home: resume(home / "run", epochs=2),
    "diagnose": lambda home: diagnose(home / "run", quick=True),
    "encode": lambda home: encode(home / "run"),
    "encode as text": lambda home: encode(home / "run", out=home / "codes.csv"),
    "sample": lambda home: sample(home / "run"),
    "report": lambda home: report(ppvae.load(home / "run")),
}


def operations(home: Path, command: Callable[[Path], object]) -> int:
    """The number of changes of the disk by a command."""
    count = 0

    def one(_: str) -> None:
        nonlocal count
        count += 1

    with counted(one):
        command(home)
    return count


def _fails_at(name: str, tmp_path: Path, every: int) -> None:
    command, first = COMMANDS[name], tmp_path / "first" / "home"
    first.mkdir(parents=True)
    small(first, out="x", epochs=1)  # for its data
    shutil.rmtree(first / "x")
    if name != "fit":
        small(first, epochs=1)
    undisturbed = tmp_path / "undisturbed" / "home"
    shutil.copytree(first, undisturbed)
    count = operations(undisturbed, command)
    tried = range(every // 2, count, every)
    print(f"{name}: {count} operations of the store, {len(tried)} failures tried")
    for k in tried:
        home = tmp_path / str(k) / "home"
        shutil.copytree(first, home)
        said = None
        with full_from(k):
            try:
                command(home)
            except WriteError as error:
                said = str(error)
        if said is None:  # only cleaning up was left
            assert k >= count - 4
        else:
            assert "no space left on device" in said
            assert str(home) in said
            assert ".part" not in said
            assert "\n" not in said
        own = (".lock", ".diagnosis", ".partial")
        hidden = [path for path in home.rglob(".*") if path.name not in own]
        assert hidden == [], k
        if (home / "run").exists():
            ppvae.load(home / "run").history()
        elif name == "fit":
            small(home)
        if name in ("fit", "resume"):
            resume(home / "run", epochs=2)
            assert not differences(future(home / "run"), future(undisturbed / "run"))
            assert figures(home / "run") == figures(undisturbed / "run")
        elif name != "overwrite" and not (home / "run" / "diagnostics.json").exists():
            shutil.rmtree(home / "run" / "samples", ignore_errors=True)
            for file in (*home.rglob("embedding*"), *home.glob("codes*")):
                file.unlink()
            COMMANDS[name](home)


@pytest.mark.parametrize("name", few(COMMANDS, 8))
def test_a_disk_that_is_full_at_some_operations(name: str, tmp_path: Path) -> None:
    _fails_at(name, tmp_path, 151 if name in ("fit", "overwrite", "resume") else 17)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_at_any_operation(name: str, tmp_path: Path) -> None:
    _fails_at(name, tmp_path, 1)


def test_a_picture_that_fails_loses_no_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise WriteError(tmp_path / "run" / "figures" / "elbo.png", "no space left on device")

    monkeypatch.setattr("ppvae.report.figures.draw", full)
    said = refused(fitting.main, capsys, *small_flags(tmp_path))
    assert "elbo.png cannot be written: no space left on device" in said
    assert f"--resume {tmp_path / 'run'}" in said
    run = ppvae.load(tmp_path / "run")
    assert run.summary is not None
    assert len(run.history()) == 4

    def broken(*_: object) -> None:
        raise RuntimeError("of no use")

    monkeypatch.setattr("ppvae.report.figures.draw", broken)
    resume(tmp_path / "run")
    assert "note: some pictures could not be drawn: of no use" in capsys.readouterr().out


# A disk that is really full


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_commands_on_a_disk_that_is_full(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = ["--decoder.hidden", "64"]
    flags = [*small_flags(tmp_path)[:-4], "--schedule", "none", "--epochs", "3"]
    said = refused(fitting.main, capsys, *flags, *wide, "--out", tiny / "run")
    assert f"{tiny / 'run'}" in said
    assert "no space left on device" in said
    assert [path.name for path in tiny.iterdir()] == ["run"]  # it began, and is whole
    assert f"--resume {tiny / 'run'}" in said
    ppvae.load(tiny / "run").history()
    shutil.rmtree(tiny / "run")
    run = small(tmp_path).path
    with (tiny / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1024))
    for command, out in ((encoding.main, "codes.npz"), (sampling.main, "samples")):
        said = refused(command, capsys, run, "--out", tiny / out)
        assert "no space left on device" in said
        files = [path for path in tiny.rglob("*") if path.is_file()]
        assert all(path.suffix in ("", ".png") for path in files)
