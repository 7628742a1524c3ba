"""Tables of a diagnosis and of its parts, on toy data."""

from pathlib import Path
from typing import Any

import pytest

from ppvae.diagnostics.effort import Effort
from ppvae.settings import QUESTIONS
from tests.benchmarks import annealing, diagnose, evidence
from tests.benchmarks.plan import Plan
from tests.support.captures import by_graph
from tests.support.fits import quick
from tests.support.toy_mode import TINY, lines_of, rows_of, uncompiled

__all__ = ["by_graph", "quick", "uncompiled"]  # fixtures


def test_evidence(tmp_path: Path) -> None:
    evidence.evidence(plan := Plan(tmp_path / "x.csv", 1, rows=130), samples=4)
    assert [row["what"] for row in rows_of(plan.out)] == [
        "compiled", "eager", "products",
    ]  # fmt: skip


@pytest.mark.slow
def test_annealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_graph: None) -> None:
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 1)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 2)
    annealing.annealing(plan := Plan(tmp_path / "x.csv", 1), temperatures=4)
    assert [row["what"] for row in rows_of(plan.out)] == ["compiled", "eager"]
    assert len([line for line in lines_of(plan.out) if line["bar"]]) == 1


@pytest.mark.slow
def test_diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Effort(
        climbed_steps=6, climbed_rows=9, climbed_draws=2,
        rows=20, evidence_rows=5, samples=30, trusted_rows=4, trusted_samples=40, refined_rows=2,
        refine_steps=8, refined_draws=4, annealed_rows=2, temperatures=2,
        chains=2, sampled_rows=0, simulations=4, replications=2, replicated_rows=4,
        compared_samples=2, estimates=4, particles=(1,), kept_rows=2, kept_draws=2,
    )  # fmt: skip
    for name in ("QUICK", "FULL"):
        monkeypatch.setattr(f"ppvae.diagnostics.effort.{name}", few)
    monkeypatch.setattr("ppvae.diagnostics.files.write_diagnosis", lambda *_: None)
    monkeypatch.setattr("ppvae.report.attempt", lambda *_, **__: "")
    monkeypatch.setattr(diagnose, "_child", diagnose.timed)
    settings: dict[str, Any] = {"batch_size": 600, "encoder": TINY, "decoder": TINY}
    diagnose.diagnose(plan := Plan(tmp_path / "x.csv", 1), "digits", **settings)
    asked = [row["what"] for row in rows_of(plan.out) if row["effort"] == "quick"]
    assert asked[: len(QUESTIONS)] == list(QUESTIONS)
    assert len([line for line in lines_of(plan.out) if line["bar"]]) == 2
