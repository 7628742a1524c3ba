"""Damage of each file of a run: commands that read it report it, and never hang."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import ppvae
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.report import report
from ppvae.run import Run
from tests.support.fits import differences, figures, future, quick, small
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here

FILES = (
    "config.yaml", "metrics.csv", "summary.json", "diagnostics.json", "checkpoints/last",
    "checkpoints/best", "last/tensors.safetensors", "last/tree.json", "last/history.json",
    "last/SHA256SUMS", "best/tensors.safetensors", "best/tree.json", "best/SHA256SUMS",
)  # fmt: skip
"""``last`` and ``best`` stand for the folders that these name."""


def _write(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.with_name("nothing"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": _write(lambda data: data[: len(data) // 2]),
    "empty": _write(lambda data: b""),
    "zeroed": _write(lambda data: bytes(len(data))),
    "flipped": _write(_flip),
    "no text": _write(lambda data: b"\xff\xfe\xfa" + data[3:]),
    "a pipe": _pipe,
    "a folder": _folder,
    "a dangling link": _link,
    "unreadable": lambda file: file.chmod(0),
    "missing": Path.unlink,
}

COMMANDS: dict[str, Callable[[Path], object]] = {
    "load": lambda run: ppvae.load(run).history(),
    "load last": lambda run: ppvae.load(run, checkpoint="last"),
    "summary": lambda run: Run(run).summary,
    "encode": lambda run: encode(run, out=run.parent / "codes.npz", overwrite=True),
    "resume": lambda run: resume(run),
    "report": lambda run: report(Run(run), out=run.parent / "page.html"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best checkpoint is not its last, fitted once."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ppvae.report.page._render", lambda material: str(material.summary))
    if not (whole / "run").exists():
        made = small(whole, epochs=3, lr=0.3, seed=3).path
        (made / "diagnostics.json").write_text('{"verdict": [], "figures": []}')
        points = {(made / "checkpoints" / name).read_text() for name in ("last", "best")}
        assert len(points) == 2
    shutil.copytree(whole / "run", tmp_path / "run")
    return tmp_path / "run"


def _file(run: Path, name: str) -> Path:
    folder, _, file = name.rpartition("/")
    if folder in ("last", "best"):
        step = (run / "checkpoints" / folder).read_text().strip()
        return run / "checkpoints" / step / file
    return run / name


def _damaged(run: Path, name: str, damage: str, commands: Sequence[str]) -> list[str]:
    """Failures other than an error message."""
    failures = []
    for command in commands:
        copy = run.with_name("copy")
        shutil.copytree(run, copy)
        DAMAGES[damage](_file(copy, name))
        try:
            COMMANDS[command](copy)
        except InputError as error:
            if "\n" in str(error) or str(copy) not in str(error):
                failures.append(f"{command}: {error}")
        except Exception as error:  # a traceback
            failures.append(f"{command}: {type(error).__name__}: {error}")
        shutil.rmtree(copy)
    return failures


def _possible(damage: str) -> None:
    if damage == "unreadable" and os.geteuid() == 0:
        pytest.skip("all files are readable to root")


@pytest.mark.parametrize("damage", few(DAMAGES, 2))
def test_damage_is_a_sentence(damage: str, run: Path) -> None:
    _possible(damage)
    tried = {"summary.json": ["summary"]} | {
        name: ["load"] for name in FILES if name not in ("summary.json", "diagnostics.json")
    }
    failures = {
        name: found
        for name, commands in tried.items()
        if (found := _damaged(run, name, damage, commands))
    }
    assert failures == {}


@pytest.mark.parametrize("damage", few(DAMAGES, 0, slow=2))
@pytest.mark.parametrize("name", FILES)
def test_damage_is_a_sentence_to_every_command(name: str, damage: str, run: Path) -> None:
    _possible(damage)
    assert _damaged(run, name, damage, list(COMMANDS)) == []


@pytest.mark.parametrize("name", few(["config.yaml", "metrics.csv", *FILES[6:]], 3))
def test_a_flipped_bit_is_never_believed(name: str, run: Path) -> None:
    file = _file(run, name)
    data = file.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 7)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        checkpoint = "last" if name.startswith("last") else "best"
        with pytest.raises(InputError) as caught:
            ppvae.load(run, checkpoint=checkpoint).history()
        assert "\n" not in str(caught.value)


def test_unreadable_says_permission_denied(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def denied(path: Path, *rest: int) -> int:
        if Path(path).name == "tensors.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest)

    monkeypatch.setattr("ppvae.run.store.reading.os.open", denied)
    with pytest.raises(InputError, match=r"tensors\.safetensors cannot be read: permission denied"):
        ppvae.load(run)


def test_what_is_still_good_is_named(run: Path) -> None:
    best = _file(run, "best/tensors.safetensors")
    kept = best.read_bytes()
    best.write_bytes(kept[:-1])
    with pytest.raises(InputError, match=r"last \(step-9\) is intact: take `checkpoint='last'`"):
        ppvae.load(run)
    ppvae.load(run, checkpoint="last")
    best.write_bytes(kept)
    (run / "checkpoints" / "best").unlink()
    with pytest.raises(InputError, match=r"best is missing: it named step-\d; take `checkpoint="):
        ppvae.load(run)


def test_a_best_that_points_elsewhere_is_not_the_best(run: Path) -> None:
    (run / "checkpoints" / "best").write_text("step-9\n")
    with pytest.raises(InputError, match="best names step-9, which was not the best"):
        ppvae.load(run)


def test_from_a_damaged_last_the_fit_goes_on_from_its_best(run: Path, whole: Path) -> None:
    _file(run, "last/tree.json").write_bytes(b"")
    with pytest.raises(InputError, match=r"best \(step-\d\) is intact: take `checkpoint='best'`"):
        resume(run)
    resume(run, checkpoint="best")
    assert not differences(future(run), future(whole / "run"))
    assert figures(run) == figures(whole / "run")


def test_history_that_is_lost_is_missed(run: Path) -> None:
    rows = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(rows[:-1]))
    for command in (lambda: ppvae.load(run).history(), lambda: resume(run)):
        with pytest.raises(InputError, match=r"metrics\.csv was damaged.*checkpoint='best'"):
            command()
    resume(run, checkpoint="best")
    assert len(ppvae.load(run).history()) == 6
