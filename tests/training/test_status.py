"""The status of a fit is printed first and last, on the page and on opening."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ppvae
from ppvae.cli.answering import answer
from ppvae.diagnostics import Baselines, Comparison, compare_baselines
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import FitWarning
from ppvae.fit import fit
from ppvae.run.opening import load
from ppvae.training.status import status
from tests.support.pages import Page, quickly

NONE = Baselines("log p(x)", {}, {})


def rows(
    held_out: Sequence[float], train: Sequence[float] | None = None, **other: Any
) -> list[Any]:
    """``metrics.csv`` of a fit with one evaluation an epoch."""
    common = {"beta": 1.0, "lr": 1e-3, "alarm": None} | other
    of = {"train": held_out if train is None else train, "valid": held_out}
    return [
        common | {"epoch": i, "step": 10 * i, "split": split, "objective": values[i - 1]}
        for i in range(1, len(held_out) + 1)
        for split, values in of.items()
    ]


def independent(difference: float, mean: float = -20.0) -> Baselines:
    name = "independent"
    compared = Comparison(
        name, "independent Normal elements", "density", Estimate(mean, 0.1),
        Estimate(difference, 0.1), 100,
    )  # fmt: skip
    return Baselines("log p(x)", {name: compared}, {})


FLAT = [-10.0 - 5 * 0.5**i for i in range(20)]


def test_a_course_that_flattens_has_converged_and_a_straight_one_is_climbing() -> None:
    assert status(rows(FLAT), NONE, -10.0, 4) == status(rows(FLAT), independent(3.0), -10.0, 4)
    assert status(rows(FLAT), NONE, -10.0, 4).word == "converged"
    straight = [-30.0 + i for i in range(20)]
    found = status(rows(straight), NONE, -11.0, 4)
    assert found.word == "climbing"
    assert "rose by 2.00 nats in the last 2 epochs" in found.warnings[0]
    assert found.warnings[0].endswith(
        "Give twice the `epochs`; if that wins little, a larger `lr`."
    )


def test_epochs_of_a_small_learning_rate_are_a_small_part_of_the_way() -> None:
    """The rise slows only with the learning rate: relative to it, it is as steep as before."""
    lrs = [1e-3] * 10 + [1e-5] * 10
    course = np.cumsum([1.0] * 10 + [0.02] * 10) - 30
    table = rows(course.tolist())
    for row in table:
        row["lr"] = lrs[row["epoch"] - 1]
    assert status(table, NONE, -20.0, 4).word == "climbing"


def test_a_late_rise_counts_if_it_is_more_than_two_errors_of_the_result() -> None:
    """As the noise falls with the learning rate, the objective may rise steeply again."""
    course = [-24.9 + 0.05 * i for i in range(20)] + [-23.9 + 0.2 * i for i in range(3)]
    assert status(rows(course), NONE, -23.5, 4, error=0.1).word == "climbing"
    assert status(rows(course), NONE, -23.5, 4, error=0.3).word == "converged"


def test_four_epochs_of_mnist_have_not_converged() -> None:
    course = [-160.12, -153.74, -149.97, -148.10]
    table = rows(course, lr=1e-3)
    for row in table:  # the mean of a cosine over each epoch
        row["step"], row["lr"] = 391 * row["epoch"], [1.9e-3, 1.4e-3, 6e-4, 1e-4][row["epoch"] - 1]
    assert status(table, independent(58.0, mean=-206.0), -145.4, 784, error=0.5).word == "climbing"


def test_a_rise_of_the_objective_by_its_beta_is_none() -> None:
    table = rows([min(-30.0 + i, -15.0) for i in range(20)])
    for row in table:
        row["beta"] = min(1.0, row["epoch"] / 16)
    assert status(table, NONE, -15.0, 4).word == "converged"


def test_a_fit_that_was_evaluated_once_has_not_converged() -> None:
    found = status(rows([-30.0]), NONE, -30.0, 4)
    assert found.word == "climbing"
    assert "evaluated only once" in found.warnings[0]


def test_an_awful_start_does_not_hide_a_climb() -> None:
    course = [-1e5, *(-200 + 0.5 * i for i in range(99))]
    assert status(rows(course), NONE, -150.0, 784).word == "climbing"
    assert status(rows([-1e5, *FLAT]), NONE, -10.0, 784).word == "converged"


def test_worse_than_independent_elements_is_said_and_far_worse_has_diverged() -> None:
    found = status(rows(FLAT), independent(-2.0), -22.0, 4)
    assert found.word == "converged"
    assert "2.00 +- 0.10 nats below its value" in found.warnings[0]
    assert status(rows(FLAT), independent(-0.1), -20.1, 4).warnings == ()
    far = status(rows(FLAT), independent(-100.0), -120.0, 4)
    assert far.word == "diverged"
    assert "100.00 nats per datum worse" in far.warnings[0]
    assert status(rows(FLAT), NONE, float("nan"), 4).word == "diverged"


def test_training_data_that_fell_have_diverged_and_an_alarm_is_a_collapse() -> None:
    fallen = [*FLAT[:-1], -15.0]
    assert status(rows(FLAT, fallen), NONE, -10.0, 4).word == "diverged"
    assert status(rows(fallen, FLAT), NONE, -10.0, 4).word == "converged"  # overfitted, at most
    straight = [-30.0 + i for i in range(20)]
    collapsed = status(rows(straight, alarm="no unit is active"), NONE, -10.0, 4)
    assert (collapsed.word, collapsed.warnings) == ("collapsed", ("No unit is active.",))


@pytest.mark.filterwarnings("always::ppvae.errors.FitWarning")
def test_each_warning_is_told_on_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        def __init__(self, path: Path, **_: Any) -> None:
            self.path, self.pair, self.warnings = path, None, ("worse than all", "still climbing")

    monkeypatch.setattr("ppvae.run.opening.Run", Opened)
    with pytest.warns(FitWarning) as told:
        load("somewhere")
    assert [str(each.message) for each in told] == [
        "somewhere: worse than all", "somewhere: still climbing",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A fit with a learning rate of 1, and what it printed."""
    folder = tmp_path_factory.mktemp("diverged")
    with quickly(), pytest.MonkeyPatch.context() as patch:
        from rich.console import Console

        from ppvae.cli import terminal

        console = Console(highlight=False, soft_wrap=True, record=True, quiet=False, file=None)
        patch.setattr(terminal, "console", console)
        patch.setattr("ppvae.training.summary.compare_baselines", compare_baselines)
        run = fit(
            data="digits", lr=1.0, epochs=1, device="cpu", out=folder / "run",
        )  # fmt: skip
        return run.path, console.export_text()


@pytest.mark.slow
def test_a_learning_rate_of_one_is_told_first_and_last_in_the_terminal(
    diverged: tuple[Path, str],
) -> None:
    lines = [line for line in diverged[1].splitlines() if line.strip()]
    first = next(i for i, line in enumerate(lines) if line.startswith("WARNING"))
    table = next(i for i, line in enumerate(lines) if line.startswith("test data"))
    assert first < table
    assert "diverged" in lines[first]
    assert lines[first] in lines[table:]
    assert any("independent Bernoulli elements" in line for line in lines[table:])


@pytest.mark.filterwarnings("always::ppvae.errors.FitWarning")
def test_it_stands_in_the_summary_on_the_page_and_is_told_on_loading(
    diverged: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = diverged
    with pytest.warns(FitWarning, match="diverged"):
        run = ppvae.load(path)
    assert run.summary is not None
    assert run.summary["status"] == "diverged"
    beside = run.summary["baselines"]
    assert set(beside) == {"independent", "mixture"}
    assert beside["independent"]["difference"] < -100
    assert beside["independent"]["standard_error"] > 0
    assert beside["independent"]["mean"] == pytest.approx(-26.96, abs=0.02)
    page = Page(path / "report.html")
    assert "diverged" in page.words["verdict"][1]
    assert "independent Bernoulli elements" in page.says("verdict")
    capsys.readouterr()
    answer(lambda _: ppvae.load(path))
    told = capsys.readouterr().err
    assert told.startswith("warning: ")
    assert told.count("\n") == 1
    assert "--lr" in told
