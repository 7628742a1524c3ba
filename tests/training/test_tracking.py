"""A tracker gets the metrics of the run; its failures do not affect the fit."""

import csv
import importlib
import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric.loggers.csv_logs import CSVLogger

from ppvae.errors import FitWarning, InputError
from ppvae.fit import main, resume
from ppvae.settings import Tracker
from ppvae.training.events import scalars
from tests.support.fits import interrupt, quick, small, small_flags
from tests.support.slow import few

__all__ = ["quick"]  # a fixture, used by every test here


class Recorder:
    """A tracker that records its calls, up to one that fails."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self._fails_at, self.calls = fails_at, 0

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.calls += 1
        if self.calls == self._fails_at:
            raise ConnectionError("no route\nto host.")
        self.told.append((step, dict(metrics)))


def test_a_tracker_is_told_each_epoch_and_the_final_figures(tmp_path: Path) -> None:
    tracker = Recorder()
    assert isinstance(tracker, Tracker)
    run = small(tmp_path, tracker=tracker, epochs=3)
    wanted: dict[int, dict[str, float]] = {}
    for row in run.history():
        wanted.setdefault(row["step"], {}).update(scalars(row))
    *epochs, (last, final) = tracker.told
    assert dict(epochs) == wanted
    assert run.summary is not None
    assert last == run.summary["steps"]
    assert final["elbo/test"] == run.summary["elbo"]
    assert final["log_p/test"] == run.summary["log_p"]["mean"]
    assert "tracker" not in run.config


@pytest.mark.parametrize("fails_at", few([2, 4], 2))
def test_a_tracker_that_raises_is_told_no_more_and_the_fit_is_whole(
    fails_at: int, tmp_path: Path
) -> None:
    tracker = Recorder(fails_at)
    sentence = (
        r"the tracker Recorder failed at step \d+ \(ConnectionError: no route to host\): "
        "the fit continues without it$"
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = small(tmp_path, tracker=tracker, epochs=3)
    said = [w for w in told if issubclass(w.category, FitWarning) and "tracker" in str(w.message)]
    assert len(said) == 1
    with pytest.warns(FitWarning, match=sentence):
        warnings.warn(said[0].message, stacklevel=1)
    assert tracker.calls == fails_at
    assert run.summary is not None
    untracked = small(tmp_path, "untracked", epochs=3)
    assert untracked.summary is not None
    assert run.summary["elbo"] == untracked.summary["elbo"]


@pytest.mark.slow
def test_a_fit_that_goes_on_is_given_its_tracker_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Recorder()
    small(tmp_path, "whole", tracker=whole, epochs=4)
    first, second = Recorder(), Recorder()
    with monkeypatch.context() as patch:
        interrupt(patch, signal.SIGINT, after=4)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path, tracker=first, epochs=4)
    resume(tmp_path / "run", tracker=second)
    assert [*first.told, *second.told] == whole.told


def test_fabrics_loggers_by_name_write_in_the_run(tmp_path: Path) -> None:
    main([*small_flags(tmp_path, "a"), "--tracker", "csv"])
    with (tmp_path / "a" / "trackers" / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + 1
    assert float(rows[0]["elbo/valid"]) < 0
    assert float(rows[-1]["elbo/test"]) < 0
    run = small(tmp_path, "b", tracker="tensorboard")
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    folder = run.path / "trackers" / "tensorboard" / "version_0"
    events: Any = reader.EventAccumulator(str(folder))
    events.Reload()
    values = [each.value for each in events.Scalars("elbo/valid")]
    wanted = [row["elbo"] for row in run.history() if row["split"] == "valid"]
    assert values == pytest.approx(wanted)


def test_a_logger_of_fabrics_is_a_tracker(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path / "logs", name="mine", flush_logs_every_n_steps=1)
    small(tmp_path, tracker=logger)
    assert (tmp_path / "logs" / "mine" / "version_0" / "metrics.csv").stat().st_size > 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tracker": "tensorbord"}, r"`tracker` is 'tensorbord'.*did you mean tensorboard"),
        ({"tracker": object()}, r"`tracker` is <object .*any object with log\(metrics, step\)"),
        ({"tracker": Recorder(), "seeds": 2}, "fit each with its own `seed`"),
        ({"tracker": "csv", "in_memory": True, "out": None}, "a run has none"),
    ],
)
def test_what_is_no_tracker_is_refused(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        small(tmp_path, **settings)
