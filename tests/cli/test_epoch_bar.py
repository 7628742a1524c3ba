"""Output of a fit without a terminal."""

import re
import time
from io import StringIO
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from ppvae.cli.epoch_bar import EpochBar
from ppvae.training.evaluation import Figures
from ppvae.training.trainer import Epoch

ROOT = Path(__file__).parents[2]
FIGURES = Figures(elbo=-3.0, reconstruction=-2.0, kl=1.0, objective=-3.0)


def lines(epochs: int, every: int, capsys: pytest.CaptureFixture[str]) -> list[int]:
    """The epochs with a line, in a fit that compiles in the second epoch."""
    bar = EpochBar(epochs, steps=1)
    for n in range(1, epochs + 1):
        if n == 2:
            bar.compiling(None)
            bar.compiling(1.5)
        bar.step()
        valid = FIGURES if n % every == 0 or n == epochs else None
        bar.epoch(Epoch(n, n, 0.0, 1.0, 0.1, FIGURES, valid, is_best=False))
    said = capsys.readouterr().err
    assert said.count("compiling the training step") == 1
    assert said.count("; compiled in 1.5 s") == 1
    return [int(epoch) for epoch in re.findall(rf"^epoch (\d+)/{epochs}: ", said, re.MULTILINE)]


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [
        (100, 1, [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (100, 3, [3, 12, 21, 30, 42, 51, 60, 72, 81, 90, 100]),
        (100, 10, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (5, 1, [1, 2, 3, 4, 5]),
        (5, 7, [5]),
    ],
)
def test_each_tenth_of_the_epochs_has_a_line_where_it_is_evaluated(
    epochs: int, every: int, expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(epochs, every, capsys) == expected


def test_the_time_left_is_not_that_of_compiling() -> None:
    bar = EpochBar(100, steps=1)
    (task,) = bar._progress.tasks
    for _ in range(3):
        bar._progress.advance(bar._task)
        time.sleep(0.01)
    assert task.time_remaining is not None
    bar.compiling(0.03)
    assert task.completed == 3
    assert task.time_remaining is None


CELLS = (
    "from ppvae.cli.epoch_bar import EpochBar\n"
    "from ppvae.training.evaluation import Figures\n"
    "from ppvae.training.trainer import Epoch\n"
    "figures = Figures(elbo=-3.0, reconstruction=-2.0, kl=1.0, objective=-3.0)\n"
    "with EpochBar(30, steps=1) as bar:\n"
    "    for n in range(1, 31):\n"
    "        bar.step()\n"
    "        bar.epoch(Epoch(n, n, 0.0, 1.0, 0.1, figures, figures, is_best=False))\n"
)


@pytest.mark.slow  # seconds for a kernel
def test_a_notebook_shows_one_line() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELLS)])
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    (shown,) = book.cells[0].outputs
    assert shown.data["text/plain"].startswith("epoch 30/30: valid elbo -3.00")


def test_the_line_of_a_notebook_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("ppvae.cli.epoch_bar.in_notebook", lambda: True)
    monkeypatch.setattr("ppvae.cli.notebook.LiveLine.show", lambda _, text: shown.append(text))
    bar = EpochBar(3, steps=1)
    for n in range(1, 4):
        bar.step()
        bar.epoch(Epoch(n, n, 0.0, 1.0, 0.1, FIGURES, FIGURES, is_best=False))
    assert [text.partition(":")[0] for text in shown] == [f"epoch {n}/3" for n in (1, 2, 3)]


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_keeps_a_line_of_each_tenth_above_a_bar_that_fits(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    screen = Console(file=written, force_terminal=True, width=80, no_color=no_color)
    monkeypatch.setattr("ppvae.cli.epoch_bar.progress_console", screen)
    with EpochBar(20, steps=1) as bar:
        for n in range(1, 21):
            bar.step()
            alarm = "all clouds are the prior" if n >= 15 else ""
            bar.epoch(Epoch(n, n, 0.0, 1.0, 0.1, FIGURES, FIGURES, is_best=False), alarm)
    words = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    plain = [line for line in re.split(r"[\r\n]+", words) if line]
    kept = [line for line in plain if re.match(r"epoch \d+/20: ", line)]
    assert [int(line[6:].split("/")[0]) for line in kept] == [1, *range(2, 21, 2)]
    live = [line for line in plain if line.startswith("epoch ") and line not in kept]
    assert live
    assert max(len(line.rstrip()) for line in live) <= 80
    assert any("valid -3.00" in line and "━" * 20 in line for line in live)
    assert [line for line in plain if line.startswith("alarm")] == [
        "alarm, epoch 15: all clouds are the prior"
    ]
    assert any("collapsed" in line for line in live)
    assert ("\x1b[1;31m" in written.getvalue()) != no_color
