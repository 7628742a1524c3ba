"""Fits that are evaluated and saved in some epochs."""

import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lightning_fabric import Fabric
from torch import Tensor

from ppvae.bounds.objective import Bound
from ppvae.data import Split
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.run import Run
from ppvae.training.collapse_alarm import CollapseAlarm
from ppvae.training.epochs import train
from ppvae.training.evaluation import Figures, evaluate
from ppvae.training.evaluation_schedule import EvaluationSchedule
from ppvae.training.trainer import Trainer
from tests.support.fits import (
    differences,
    figures,
    future,
    interrupt,
    quick,
    rewrite_config,
    small,
    weights,
)

__all__ = ["quick"]  # a fixture


def evaluations(run: Run) -> list[int]:
    return [row["epoch"] for row in run.history() if row["split"] == "valid"]


def test_a_fit_scores_and_saves_what_its_schedule_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    saved: list[bool] = []
    real, save = evaluate, Run.save

    def scoring(bound: Bound, split: Split, rows: Tensor, **how: Any) -> Figures:
        scored.append(len(rows) * how["draws"])
        return real(bound, split, rows, **how)

    def saving(self: Run, state: Mapping[str, Any], *, is_best: bool) -> None:
        saved.append(is_best)
        save(self, state, is_best=is_best)

    monkeypatch.setattr("ppvae.training.trainer.evaluate", scoring)
    monkeypatch.setattr(Run, "save", saving)
    run = small(tmp_path, epochs=7, evaluate_every=3)
    assert evaluations(run) == [3, 6, 7]
    assert scored == [9, 9, 9]
    assert len(saved) == 3
    assert saved[0]
    assert [r["epoch"] for r in run.history() if r["split"] == "train"] == [1, 2, 3, 4, 5, 6, 7]
    assert run.resolved["evaluation"] == {"every": 3, "rows": 9, "draws": 1, "batch_size": 4096}


@pytest.mark.slow
def test_how_often_it_is_evaluated_moves_no_weights(tmp_path: Path) -> None:
    often, seldom = (small(tmp_path, f"{n}", epochs=5, evaluate_every=n) for n in (1, 2))
    assert not differences(weights(often.path), weights(seldom.path))
    rows = {row["epoch"]: row for row in figures(often) if row["split"] == "valid"}
    assert [r for r in figures(seldom) if r["split"] == "valid"] == [rows[2], rows[4], rows[5]]


def test_patience_ends_a_fit_after_an_evaluation(tmp_path: Path) -> None:
    """Patience counts epochs: if weights cannot change, the first evaluation stays the best."""
    still: dict[str, Any] = {"lr": 1e-30, "optimizer": "SGD", "epochs": 30}
    run = small(tmp_path, patience=4, evaluate_every=3, **still)
    assert evaluations(run) == [3, 6, 9]
    assert run.summary is not None
    assert run.summary["best_epoch"] == 3


def test_patience_that_ran_out_at_the_old_end_ends_a_longer_fit_too(tmp_path: Path) -> None:
    still: dict[str, Any] = {"lr": 1e-30, "optimizer": "SGD", "epochs": 5}
    run = small(tmp_path, patience=2, evaluate_every=3, **still)
    assert evaluations(resume(run.path, epochs=30)) == [3, 5]


@pytest.mark.slow
def test_a_fit_that_is_lengthened_keeps_the_evaluation_at_its_old_end(tmp_path: Path) -> None:
    run = resume(small(tmp_path, epochs=4, evaluate_every=3).path, epochs=6)
    whole = small(tmp_path, "whole", epochs=6, evaluate_every=3)
    assert (evaluations(run), evaluations(whole)) == ([3, 4, 6], [3, 6])
    assert not differences(weights(run.path), weights(whole.path))


@pytest.mark.slow
def test_a_fit_that_stops_between_evaluations_goes_on_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {"epochs": 7, "evaluate_every": 3, "patience": 6}
    whole = small(tmp_path, "whole", **more)
    with monkeypatch.context() as patch:
        interrupt(patch, signal.SIGTERM, 14)  # in the fifth epoch
        with pytest.raises(SystemExit):
            small(tmp_path, "cut", **more)
    cut = resume(tmp_path / "cut")
    assert not differences(future(cut.path), future(whole.path))
    assert figures(cut) == figures(whole)


def test_one_process_looks_for_a_collapse_and_all_gather_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    state = Trainer.state

    def gathering(self: Trainer) -> dict[str, Any]:
        told.append("state")
        return state(self)

    def as_another(run: Run, trainer: Trainer, _: Fabric, **calls: Any) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(CollapseAlarm, "__call__", lambda *_: told.append("alarm"))
            patch.setattr(Trainer, "state", gathering)
            train(run, trainer, cast("Fabric", SimpleNamespace(is_global_zero=False)), **calls)
        raise InterruptedError

    monkeypatch.setattr("ppvae.fit.train", as_another)
    with pytest.raises(InterruptedError):
        small(tmp_path, epochs=3)
    assert told == ["state"] * 3


def test_a_schedule_that_reads_the_objective_has_one_each_epoch(tmp_path: Path) -> None:
    run = small(tmp_path, schedule="ReduceLROnPlateau", evaluate_every=None, epochs=4)
    assert evaluations(run) == [1, 2, 3, 4]
    with pytest.raises(InputError, match=r"`evaluate_every` is 2, but ReduceLROnPlateau"):
        small(tmp_path, "refused", schedule="ReduceLROnPlateau", evaluate_every=2)


@pytest.mark.slow
def test_a_resumed_fit_takes_the_recorded_schedule(tmp_path: Path) -> None:
    run = small(tmp_path, evaluate_every=1).path
    other = asdict(EvaluationSchedule(2, 5, 3, 8))
    rewrite_config(run, lambda config: config["run"].update(evaluation=other))
    assert evaluations(resume(run, epochs=5)) == [1, 2, 4, 5]
