"""Encoding in pieces on disk: after a kill, the file is that of an undisturbed run."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppvae.diagnostics import encoding
from ppvae.diagnostics.encoding import Encoding
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fitted import Run
from tests.support.fits import quick, small, table

__all__ = ["quick"]  # a fixture: fits without pictures

FEW = 128

KILLED = """
import os, signal, sys
from ppvae.diagnostics import encoding
from ppvae.diagnostics.encoding import Encoding
from ppvae.encode import encode
encoding.PIECE = 128
piece = Encoding.piece
def die(self, number, on_rows):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece(self, number, on_rows)
Encoding.piece = die
encode(sys.argv[1], sys.argv[2], samples=3, out=sys.argv[3])
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Path]:
    """A run, and 400 named rows with labels, in pieces of 128."""
    monkeypatch.setattr(encoding, "PIECE", FEW)
    frame = pd.DataFrame(table(400), columns=["a", "b", "c"])
    frame.insert(0, "id", [f"row-{number}" for number in range(400)])
    frame["kind"] = np.where(frame["a"] > 0, "wet", "dry")
    frame.to_csv(tmp_path / "x.csv", index=False)
    run = small(tmp_path, data=tmp_path / "x.csv", index="id", label="kind", epochs=1)
    return run, tmp_path / "x.csv"


def content(file: Path) -> Any:
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: arrays[name].tolist() for name in arrays}
    return file.read_text() if file.suffix == ".csv" else pd.read_parquet(file).to_csv()


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_a_stopped_encoding_goes_on_to_the_file_of_one_that_was_not(
    made: tuple[Run, Path], tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = made
    folder = run.path if suffix == ".npz" else tmp_path  # in the run, or not
    whole, file = tmp_path / f"whole{suffix}", folder / f"codes{suffix}"
    encode(run, split="all", samples=3, out=whole)
    piece, computed = Encoding.piece, []

    def until_third(self: Encoding, number: int, *rest: Any) -> Any:
        computed.append(number)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return piece(self, number, *rest)

    monkeypatch.setattr(Encoding, "piece", until_third)
    with pytest.raises(KeyboardInterrupt):
        encode(run, split="all", samples=3, out=file)
    assert not file.exists()
    assert (folder / f"codes{suffix}.partial").is_dir()
    encode(run, split="all", samples=3, out=file)
    assert len(computed) == 3 + 3  # 320, 40 and 40 rows are 5 pieces, and 2 of them were done
    assert content(file) == content(whole)
    assert not list(folder.glob("*.partial"))


def test_pieces_are_those_of_all_rows_at_once(
    made: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = made
    found = encode(run, data, samples=3, out=tmp_path / "codes.npz")
    monkeypatch.setattr(encoding, "PIECE", 4096)
    whole = encode(run, data, samples=3, out=tmp_path / "whole.npz")
    assert list(found) == list(whole)
    for name, values in whole.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_no_piece(
    made: tuple[Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = made
    file = tmp_path / "codes.npz"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run.path), str(data), str(file)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    capsys.readouterr()
    encode(run, data, samples=3, out=file)
    assert "256 of 400 rows are encoded" in " ".join(capsys.readouterr().out.split())
    encode(run, data, samples=3, out=tmp_path / "whole.npz")
    assert content(file) == content(tmp_path / "whole.npz")


@pytest.fixture
def stopped(made: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Encodes, and is stopped before the file is written; with the names of the pieces."""
    run, _ = made

    def encode_and_stop(data: Any, **asked: Any) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr("ppvae.diagnostics.encoded_files.aside", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                encode(run, data, samples=3, out=tmp_path / "codes.npz", **asked)
        return tmp_path / "codes.npz"

    return encode_and_stop


def pieces(file: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(f"{file}.partial").glob("*-*.npz")}


def test_pieces_of_other_samples_are_kept_unless_they_may_be_thrown_away(
    made: tuple[Run, Path], stopped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = made
    file = stopped(data)
    done = pieces(file)
    assert len(done) == 4
    with pytest.raises(
        InputError, match=r"differs in samples \(was 3, now 4\); .*`overwrite=True`"
    ):
        encode(run, data, samples=4, out=file)
    assert pieces(file) == done
    found = encode(run, data, samples=4, out=file, overwrite=True)
    assert "is started again" in " ".join(capsys.readouterr().out.split())
    whole = encode(run, data, samples=4, out=tmp_path / "whole.npz")
    np.testing.assert_array_equal(found["log_p"], whole["log_p"])
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("kind", ["file", "object", "labels", "on disk"])
def test_pieces_of_data_that_differ_in_one_row_are_refused(
    made: tuple[Run, Path], stopped: Any, tmp_path: Path, kind: str
) -> None:
    run, data = made
    x: Any = data
    if kind in ("object", "labels"):
        x = pd.read_csv(data)
    elif kind == "on disk":
        run.data_memory = 1e-9
        x = tmp_path / "x.parquet"
        pd.read_csv(data).to_parquet(x)
    file = stopped(x)
    other = pd.read_csv(data)
    if kind == "labels":
        other.loc[200, "kind"] = "wet" if other.loc[200, "kind"] == "dry" else "dry"
    else:
        other["a"] += np.arange(400) == 200
    if kind in ("object", "labels"):
        x = other
    else:
        before = x.stat()
        other.to_csv(x, index=False) if x == data else other.to_parquet(x)
        os.utime(x, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = pieces(file)
    what = "labels or size factors" if kind == "labels" else "data"
    with pytest.raises(InputError, match=f"differs in the {what};"):
        encode(run, x, samples=3, out=file)
    assert pieces(file) == done


def test_pieces_of_another_version_or_device_are_refused(
    made: tuple[Run, Path], stopped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = made
    file = stopped(data)
    monkeypatch.setattr("ppvae.diagnostics.unfinished.versions", lambda: {"torch": "1.0"})
    with pytest.raises(InputError, match=r"torch \(was [^)]*, now 1\.0\)"):
        encode(run, data, samples=3, out=file)


def test_a_folder_of_somebody_else_is_left_alone(made: tuple[Run, Path], tmp_path: Path) -> None:
    run, data = made
    (tmp_path / "codes.npz.partial").mkdir()
    (tmp_path / "codes.npz.partial" / "mine").write_text("mine")
    with pytest.raises(InputError, match="is not an unfinished encoding"):
        encode(run, data, samples=3, out=tmp_path / "codes.npz")
    assert (tmp_path / "codes.npz.partial" / "mine").read_text() == "mine"
