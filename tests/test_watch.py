"""A collapsed posterior raises an alarm while the fit goes on, and metrics.csv keeps it."""

import csv
from pathlib import Path

import pytest
import torch
from fits import figures, future, quick, small

from ppvae.diagnostics import active_units, embed
from ppvae.fit import resume
from ppvae.run import COLUMNS, Run

__all__ = ["quick"]  # a fixture, used by every test here


def held_out(run: Run, column: str) -> list[object]:
    return [row[column] for row in run.metrics() if row["split"] == "valid"]


def test_a_healthy_fit_counts_its_units_and_raises_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, epochs=6, lr=1e-2, batch_size=8)
    counts = held_out(run, "active_units")
    last = embed(run.pair, run.audit, run.data().valid).joined()
    assert counts[-1] == active_units(last)
    assert counts[-1] == 2
    assert all(row["alarm"] is None for row in run.metrics())
    assert all(row["active_units"] is None for row in run.metrics() if row["split"] == "train")
    assert "collapse" not in capsys.readouterr().err


def test_a_collapsed_fit_says_so_once_and_names_the_remedies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, beta=100.0, epochs=12, lr=3e-2, batch_size=8)
    assert held_out(run, "active_units")[-1] == 0
    alarm = str(held_out(run, "alarm")[-1])
    for word in ("collapse", "z", "--warm-up", "free bits", "prior"):
        assert word in alarm
    said = capsys.readouterr().err
    assert alarm in said.replace("\n", " ")
    assert said.count("--warm-up") < sum(a is not None for a in held_out(run, "alarm"))
    assert "POSTERIOR COLLAPSE" in said


def test_the_watch_changes_nothing_of_a_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path, "watched", epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("ppvae.training._rows", lambda epoch, _: [])
        patch.setattr("ppvae.terminal.EpochBar.epoch", lambda *_: None)
        patch.setattr("ppvae.watch.Watch.__call__", lambda _: _Nothing())
        small(tmp_path, "alone", epochs=3)
    one, other = future(tmp_path / "watched"), future(tmp_path / "alone")
    assert all(torch.equal(one["weights"][n], other["weights"][n]) for n in one["weights"])


class _Nothing:
    alarm = ""


def test_a_run_from_before_there_was_an_alarm_opens_and_goes_on(tmp_path: Path) -> None:
    run = small(tmp_path, "old", epochs=3, schedule=None)
    small(tmp_path, "new", epochs=5, schedule=None)
    file = run.path / "metrics.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    older = [name for name in COLUMNS if name not in ("active_units", "alarm")]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, older, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert [row["elbo"] for row in Run(run.path).metrics()] == [float(r["elbo"]) for r in rows]
    assert Run(run.path).metrics()[0]["alarm"] is None
    resume(run.path, epochs=5)
    assert file.read_text().splitlines()[0] == ",".join(COLUMNS)
    without = [{k: v for k, v in row.items() if k != "active_units"} for row in figures(run)]
    assert without == [
        {k: v for k, v in row.items() if k != "active_units"} for row in figures(tmp_path / "new")
    ]
