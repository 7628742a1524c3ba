"""Tables of fits and of encoding, on toy data."""

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from ppvae.cli.given import given_settings
from tests.benchmarks import encode, epoch, imports, larger_than_memory, whole_fit
from tests.benchmarks.plan import Plan
from tests.support.captures import by_graph
from tests.support.fits import quick
from tests.support.toy_mode import TINY, lines_of, rows_of, uncompiled

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
    assert float(difference["seconds"]) == -1  # each call takes a second more than the one before
    for _, module, *flags in asked:
        given_settings(module.removeprefix("ppvae."), flags)  # takes them


def test_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(file: Path, memory: float, plan: Plan) -> dict[str, float]:
        with larger_than_memory.owned() as peak:
            figures = larger_than_memory.fitted(file, memory, plan.steps, plan.rows)
            time.sleep(0.1)
            return figures | {"own_gib": peak() / 2**30}

    monkeypatch.setattr(larger_than_memory, "_apart", here)
    monkeypatch.setattr(larger_than_memory, "COLUMNS", 9)
    threads = torch.get_num_threads()
    larger_than_memory.larger_than_memory(plan := Plan(tmp_path / "x.csv", 1, 4, rows=9), gib=1e-6)
    torch.set_num_threads(threads)
    rows = rows_of(plan.out)
    assert [row["what"] for row in rows] == ["on disk", "in memory", "small"]
    assert all(float(row["rows_per_second"]) > 0 and float(row["own_gib"]) > 0 for row in rows)
    bars = [line for line in lines_of(plan.out) if line["bar"]]
    assert [float(bar["at_most"]) for bar in bars] == [4, 1.25]


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
