"""The benchmark of the verdict, on toy data; the slow test runs its real fits."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.settings.fit import Settings
from ppvae.settings.setting import BOUND, PROGRAMS, TRAINING, settings_of
from tests.benchmarks.bad_fits import data
from tests.benchmarks.bad_fits.__main__ import main
from tests.benchmarks.bad_fits.cases import CASES, FITS, SIBLINGS, Case
from tests.benchmarks.bad_fits.data import DATA
from tests.benchmarks.bad_fits.judged import Judged, judge
from tests.support.fits import quick

__all__ = ["quick"]  # a fixture, used by every test here


@pytest.mark.slow
def test_toys_are_fitted_diagnosed_and_judged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "ROWS", 80)
    arguments = [
        "--fits", "counts-gaussian", "linear-mean-field", "--only", "model",
        "--out", str(tmp_path / "runs"), "--table", str(tmp_path / "verdicts.md"),
    ]  # fmt: skip
    main(arguments, epochs=1)
    table = (tmp_path / "verdicts.md").read_text()
    assert f"| {CASES[5].what} |" in table
    assert "nan" not in table
    assert re.search(r", commit \w{7,}(, changed)?, \d{4}-\d\d-\d\d\.", table)
    with (tmp_path / "verdicts.csv").open() as file:
        counts, _ = csv.DictReader(file)
    assert counts["part"] == "likelihood"  # a density has no zeros, however short the fit
    assert float(counts["loss"]) > 0
    monkeypatch.setattr("tests.benchmarks.bad_fits.runs.fit", None)  # nothing is made again
    monkeypatch.setattr("tests.benchmarks.bad_fits.judged.diagnose", None)
    main(arguments)
    assert (tmp_path / "verdicts.md").read_text() == table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that several cases share."""
    return tmp_path_factory.mktemp("bad-fits")


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, *SIBLINGS], ids=lambda case: case.bad)
def test_the_verdict_names_the_bad_part_and_a_size_within_a_factor_of_two(
    case: Case, folder: Path
) -> None:
    found = judge(case, folder, quick=True, threads=1)
    assert found.is_named, (found.part, found.sentence)
    assert found.is_right, (found.loss, found.nats, found.sentence)


def test_every_case_has_its_fits_and_its_data() -> None:
    used = {name for case in (*CASES, *SIBLINGS) for name in (case.bad, case.good)}
    assert used == set(FITS)
    assert {fit.data for fit in FITS.values()} == set(DATA)


def test_no_fit_leans_on_a_default_that_may_move() -> None:
    pinned = {
        name
        for name, (_, about) in settings_of(Settings).items()
        if about.is_recorded and about.group in (PROGRAMS, BOUND, TRAINING)
    }
    assert all(fit.whole.keys() >= pinned for fit in FITS.values())


@pytest.mark.parametrize(
    ("part", "nats", "is_right"),
    [
        ("decoder", 3.0, True), ("decoder", 1.9, False), ("decoder", 8.1, False),
        ("prior", 4.0, False), ("decoder", None, False),
    ],
)  # fmt: skip
def test_a_verdict_is_right_about_the_part_and_within_a_factor_of_two(
    part: str, nats: Any, is_right: bool
) -> None:
    case = Case("", "", "", ("decoder",))
    assert Judged(case, Estimate(4.0, 0.1), part, nats, 0.1, "").is_right == is_right
