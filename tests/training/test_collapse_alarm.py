"""A collapsed posterior raises an alarm during the fit, recorded in metrics.csv."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from ppvae.cli.epoch_bar import EpochBar
from ppvae.cli.flags_in_sentences import in_a_command
from ppvae.diagnostics import active_units, embed
from ppvae.fit import resume
from ppvae.networks.initial_weights import initialize
from ppvae.run import Run
from ppvae.training.collapse_alarm import is_learned
from ppvae.training.evaluation import Figures
from ppvae.training.trainer import Epoch
from tests.support.fits import future, quick, small

__all__ = ["quick"]  # a fixture, used by every test here


def held_out(run: Run, column: str) -> list[object]:
    return [row[column] for row in run.history() if row["split"] == "valid"]


def test_a_healthy_fit_counts_its_units_and_raises_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, epochs=6, lr=1e-2, batch_size=8)
    counts = held_out(run, "active_units")
    last = embed(run.pair, run.audit, run.data().valid).joined()
    assert counts[-1] == active_units(last)
    assert counts[-1] == 2
    assert all(row["alarm"] is None for row in run.history())
    assert all(row["active_units"] is None for row in run.history() if row["split"] == "train")
    assert "collapse" not in capsys.readouterr().err


def test_a_collapsed_fit_says_so_once_and_names_the_remedies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path, beta=100.0, epochs=12, lr=3e-2, batch_size=8)
    assert held_out(run, "active_units")[-1] == 0
    alarm = str(held_out(run, "alarm")[-1])
    for word in ("collapse", "z", "`warm_up`", "free bits", "prior"):
        assert word in alarm
    said = capsys.readouterr().err
    assert alarm in said.replace("\n", " ")
    assert said.count("`warm_up`") < sum(a is not None for a in held_out(run, "alarm"))
    assert "POSTERIOR COLLAPSE" in said


def test_the_alarm_of_a_command_names_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    figures = Figures(-2.0, -1.0, 1.0, -2.0)
    epoch = Epoch(1, 1, 0.0, 1.0, 1e-3, figures, figures, is_best=True)
    with in_a_command(), EpochBar(1, 1) as bar:
        bar.epoch(epoch, "take `warm_up`, or `likelihood.sizes=[2, 3]`")
    assert "take --warm-up, or --likelihood.sizes 2,3" in capsys.readouterr().err


def shrunk(layers: Sequence[nn.Module]) -> None:
    """User-defined initial weights: at first the latents are almost unused."""
    initialize(layers)
    last = layers[-1]
    if isinstance(last, nn.Linear) and last.out_features == 2 * 20:
        last.weight.data *= 0.1


def slow(folder: Path, out: str, epochs: int) -> Run:
    """The first epochs of a slow fit: no unit is active yet, but the KL rises."""
    usual = dict.fromkeys(("likelihood", "decoder", "encoder", "latent_dim", "batch_size"), ...)
    return small(folder, out, data="digits", compile="off", epochs=epochs, lr=2e-4, **usual)


@pytest.mark.slow
def test_no_alarm_while_the_kl_of_a_slow_start_rises_and_none_after_a_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppvae.networks.layers.initialize", shrunk)
    run = slow(tmp_path, "run", 6)
    assert held_out(run, "active_units") == [0] * 6
    kl = [float(str(value)) for value in held_out(run, "kl")]
    assert kl[2:] == sorted(kl[2:])
    assert held_out(run, "alarm") == [None] * 6
    # The course is that of the whole fit, not only since the resume.
    assert held_out(resume(run.path, epochs=7), "alarm") == [None] * 7


def test_a_collapse_raises_the_alarm_after_the_warm_up_and_not_in_it(tmp_path: Path) -> None:
    run = small(tmp_path, beta=30.0, warm_up=6, epochs=10, lr=1e-2, batch_size=8)
    assert held_out(run, "active_units")[3:] == [0] * 7
    alarms = [alarm is not None for alarm in held_out(run, "alarm")]
    assert alarms == [False] * 6 + [True] * 4


@pytest.mark.slow
def test_an_interrupted_fit_has_the_alarms_of_one_that_was_not(tmp_path: Path) -> None:
    settings = {"beta": 30.0, "lr": 1e-2, "batch_size": 8}
    parted = resume(small(tmp_path, "parted", epochs=6, **settings).path, epochs=9)
    whole = small(tmp_path, "whole", epochs=9, **settings)
    assert held_out(parted, "alarm") == held_out(whole, "alarm")
    assert held_out(whole, "alarm")[-1] is not None


@pytest.mark.slow
def test_free_bits_that_keep_a_latent_in_use_raise_no_alarm(tmp_path: Path) -> None:
    run = small(tmp_path, elbo="FreeBitsELBO", epochs=8, lr=1e-2, batch_size=8)
    assert held_out(run, "active_units")[-1] == 2
    assert held_out(run, "alarm") == [None] * 8


SLOW = (0.039, 0.032, 0.030, 0.031, 0.034, 0.038, 0.044, 0.051, 0.057, 0.064, 0.070, 0.077)
"""The KL of the digits at a learning rate of 1e-5: down to the prior, and up from there."""


def test_a_course_shows_a_latent_that_is_being_learned() -> None:
    assert all(is_learned(SLOW[:end]) for end in range(5, len(SLOW) + 1))
    creeping = [0.1 * 1.006**epoch for epoch in range(30)]
    assert all(is_learned(creeping[:end]) for end in range(5, 31))


@pytest.mark.parametrize(
    "course",
    [
        (0.02, 5e-3, 2e-3, 2e-3, 1e-3, 1e-3),  # of beta = 30
        (4e-3, 3e-5, 9e-5, 4e-5, 1.7e-4, 6e-5, 2e-4),  # noise of what is nothing
        (3.0, 2.8, 1.5, 0.6, 0.2, 0.05, 0.02),  # used, and lost
        (0.12, 0.1229, 0.1229, 0.123, 0.1231, 0.1232, 0.1232, 0.1231, 0.1232),  # it stays there
        (0.5, 0.3, 0.2, 0.15, 0.15, 0.15, 0.15),  # held by free bits, with nothing of x
        (None, None, None, None, None, None),  # a point mass has none
        (),
    ],
)
def test_a_course_that_falls_or_stays_shows_none(course: tuple[float | None, ...]) -> None:
    assert not is_learned(course)


def test_patience_outlasts_a_slip(tmp_path: Path) -> None:
    risen = [0.02, 0.03, 0.04, 0.05, 0.06]
    assert is_learned([*risen, 0.03, 0.03])
    assert not is_learned([*risen, 0.03, 0.03, 0.03])


@pytest.mark.slow
def test_the_alarm_changes_nothing_of_a_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(tmp_path, "watched", epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("ppvae.training.epochs._rows", lambda epoch, _: [])
        patch.setattr("ppvae.training.tracking.Tracking.epoch", lambda *_: None)
        patch.setattr("ppvae.cli.epoch_bar.EpochBar.epoch", lambda *_: None)
        patch.setattr("ppvae.training.collapse_alarm.CollapseAlarm.__call__", lambda *_: _Nothing())
        small(tmp_path, "alone", epochs=3)
    one, other = future(tmp_path / "watched"), future(tmp_path / "alone")
    assert all(torch.equal(one["weights"][n], other["weights"][n]) for n in one["weights"])


class _Nothing:
    alarm = ""
