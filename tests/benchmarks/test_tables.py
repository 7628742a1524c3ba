"""The list of tables, their modules, and their output with bars."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import (
    annealing,
    compiling,
    diagnose,
    encode,
    epoch,
    evidence,
    imports,
    larger_than_memory,
    processes,
    speed,
    time_to_bound,
    whole_fit,
)
from tests.benchmarks.__main__ import TABLES
from tests.benchmarks.all_tables import all_tables
from tests.benchmarks.bars import Bar
from tests.benchmarks.plan import Plan, Table
from tests.benchmarks.table import publish
from tests.support.toy_mode import lines_of


def test_a_bar_is_a_line_with_its_verdict_where_and_when(tmp_path: Path) -> None:
    bars = [Bar("a", 2.0, 1.5), Bar("b", 2.0, 3.0), Bar("c", 2.0, None)]
    publish(Plan(tmp_path / "x.csv", 1, load=0.5), [{"ms": 1}], bars, versions={"pyro": "2"})
    first, *rest = lines_of(tmp_path / "x.csv")
    assert (first["ms"], first["verdict"]) == ("1", "")
    assert [line["verdict"] for line in rest] == ["met", "missed by 50.0%", "not run"]
    assert all(line["machine"] and line["date"] for line in (first, *rest))
    assert {line["versions"] for line in rest} == {"pyro 2"}
    assert {line["load"] for line in rest} == {"0.5 cores busy at the start"}


def test_all_tables_are_made_though_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(command: list[Any], **_: Any) -> Any:
        flag, rounds, out = command[-3:]
        assert rounds == "--rounds=1"
        if flag == "--bad-one":
            return SimpleNamespace(returncode=3, stdout="half a table\n")
        bars = [Bar("good", 2.0, 3.0), Bar("not run", 2.0, None)]
        publish(Plan(Path(out.removeprefix("--out=")), 1), [{"ms": 1}], bars, versions={})
        return SimpleNamespace(returncode=0, stdout="a table\n")

    monkeypatch.setattr("tests.benchmarks.all_tables.subprocess.run", made)
    tables = [Table("bad_one", ""), Table("skipped", "", briefly=None), Table("good", "")]
    assert all_tables(tables, tmp_path, ["--rounds=1"]) == 1
    assert (tmp_path / "bad_one.md").read_text() == "half a table\nfailed with status 3\n"
    assert {path.name for path in tmp_path.iterdir()} == {"bad_one.md", "good.md", "good.csv"}
    assert capsys.readouterr().out.count("missed by 50.0%") == 2  # with its table, and at the end


def test_each_table_is_a_module_with_its_function() -> None:
    assert all(callable(table.maker()) for table in TABLES)


BARS: dict[str, list[float]] = {
    "speed": [most for _, _, most in speed.BARS],
    "time_to_bound": [time_to_bound.MOST],
    "compiling": list(compiling.MOST.values()),
    "whole_fit": [whole_fit.MOST, whole_fit.SHARE],
    "epoch": [epoch.MOST],
    "imports": [imports.MOST],
    "encode": [encode.MOST],
    "evidence": [evidence.MOST, evidence.MEMORY],
    "annealing": [annealing.MOST],
    "diagnose": list(diagnose.MOST.values()),
    "scaling": [],
    "processes": [processes.MOST],
    "larger_than_memory": [larger_than_memory.MEMORY, larger_than_memory.SLOWER],
}
"""The bars of each table."""


def test_the_page_lists_each_table_and_its_bars() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results" / "speed.md").read_text()
    for table in TABLES:
        (bars,) = re.findall(rf"^\| `{table.flag}`.*\|(.*)\|$", page, re.MULTILINE)
        numbers = [float(n.replace(",", "")) for n in re.findall(r"(?<!\w)[\d.,]*\d", bars)]
        assert sorted(numbers) == sorted(BARS[table.name]), table.name
