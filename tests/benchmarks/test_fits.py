"""Tables of fits and of encoding, on toys."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ppvae.cli.given import given_settings
from tests.benchmarks import encode, epoch, imports, whole_fit
from tests.benchmarks.plan import Plan
from tests.support.captures import by_graph
from tests.support.fits import quick
from tests.support.toy_mode import TINY, rows_of, uncompiled

__all__ = ["by_graph", "quick", "uncompiled"]  # fixtures


def test_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [arguments[1] for arguments in imports._COMMANDS.values() if arguments[0] == "-m"]
    assert all(map(find_spec, modules))
    empty = {name: ["-c", "pass"] for name in (imports._TORCH, imports._PYRO, "fit --help")}
    monkeypatch.setattr(imports, "_COMMANDS", empty)
    monkeypatch.setattr(imports, "_FIT", ["-c", "import json.tool"])
    imports.imports(plan := Plan(tmp_path / "x.csv", 1))
    rows = rows_of(plan.out)
    assert [row["command"] for row in rows] == [*empty, "fit"]
    if sys.platform == "linux":
        assert all(float(row["peak_mib"]) >= float(row["anonymous_mib"]) > 0 for row in rows)
        assert [int(row["modules"]) for row in rows[:-1]] == [0, 0, 0]
        assert int(rows[-1]["modules"]) > 0


def test_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def done(arguments: list[str]) -> float:
        asked.append(arguments)
        return float(len(asked))

    monkeypatch.setattr(encode, "_seconds", done)
    monkeypatch.setattr(encode, "footprint", lambda _: {"peak_mib": 1.0})
    encode.encode(plan := Plan(tmp_path / "x.csv", 2), rows=20)
    whole, start, difference = rows_of(plan.out)
    assert [whole["what"], start["what"]] == ["20 images", "10 images"]
    assert float(difference["seconds"]) == -1  # each took a second more than that before it
    for _, module, *flags in asked:
        given_settings(module.removeprefix("ppvae."), flags)  # takes them


def test_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch, "_ALONE", 1)
    settings: dict[str, Any] = {"batch_size": 600, "encoder": TINY, "decoder": TINY}
    epoch.epoch(plan := Plan(tmp_path / "x.csv", 2), "digits", **settings)
    (row,) = rows_of(plan.out)
    assert float(row["ratio"]) > 0


def test_whole_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_fit, "_child", whole_fit.timed)
    flags = ("--epochs", "2", "--batch-size", "600", "--decoder", "MLP", "--decoder.hidden", "4")
    whole_fit.whole_fit(plan := Plan(tmp_path / "x.csv", 1), {"default": flags})
    (row,) = rows_of(plan.out)
    assert all(float(row[part]) > 0 for part in whole_fit.PARTS)
