"""Progress by epoch: a bar in a terminal, a line in a notebook, a few lines in a log."""

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ppvae.cli.flags_in_sentences import spoken
from ppvae.cli.notebook import LiveLine, in_notebook
from ppvae.cli.terminal import number, progress_console, say

if TYPE_CHECKING:  # for their types alone: the loop takes seconds to import
    from ppvae.training.evaluation import Figures
    from ppvae.training.trainer import Epoch


class EpochBar:
    """Progress by epoch: a bar with the bound and the time left, and lines that stay above it.

    A line gives the bound and its parts at every tenth of the epochs; a log file has only these.
    In a notebook it is one line of text that is updated.

    Args:
        epochs: the largest number of epochs.
        steps: steps in each.
        done: steps taken before a resumed fit was stopped.
        notes: the trainer's list of sentences to print, each removed once printed.
        quiet: show nothing, as in all processes but one.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        done: int = 0,
        notes: list[str] | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self._epochs = epochs
        self._every, self._due = max(1, epochs // 10), 1
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=progress_console,
            disable=quiet or progress_console.quiet or not progress_console.is_terminal,
        )
        self._quiet, self._notes = quiet, [] if notes is None else notes
        self._task = self._progress.add_task(
            "", total=epochs * steps, completed=done, epoch=f"{done // steps}/{epochs}", figures=""
        )
        self._best = "no best yet"
        self._figures: str | None = None
        self._alarm, self._compiled = "", ""
        self._pending, self._drawn = 0, time.monotonic()
        is_quiet = quiet or progress_console.quiet
        self._line = LiveLine() if in_notebook() and not is_quiet else None

    def __enter__(self) -> "EpochBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self) -> None:
        """Count one step; the screen is updated at most ten times a second."""
        self._pending += 1
        if self._figures is not None:  # restore the text from before compiling
            self._progress.update(self._task, figures=self._figures)
            self._figures = None
        if time.monotonic() - self._drawn > 0.1:
            self._progress.advance(self._task, self._pending)
            self._pending, self._drawn = 0, time.monotonic()
        while self._notes:
            note = self._notes.pop(0)
            if not self._quiet:
                say(f"note: {note}")

    def compiling(self, seconds: float | None) -> None:
        """Announce that the next step compiles; or, given ``seconds``, how long that took."""
        if seconds is not None:
            self._compiled = f"; compiled in {seconds:.1f} s"
            # The time left follows from steps that do not compile.
            done = self._progress.tasks[self._task].completed
            self._progress.reset(self._task, completed=int(done))
            return
        self._figures = str(self._progress.tasks[self._task].fields["figures"])
        self._progress.update(self._task, figures="compiling the training step", refresh=True)
        if self._line is not None:
            self._line.show("compiling the training step")
        elif self._progress.disable and not self._quiet:
            progress_console.print("compiling the training step")

    def epoch(self, epoch: "Epoch", alarm: str = "") -> None:
        """Show the held-out figures after an epoch, and an alarm once while it lasts."""
        self._progress.advance(self._task, self._pending)
        self._pending = 0
        self._progress.update(self._task, epoch=f"{epoch.epoch}/{self._epochs}")
        if epoch.valid is None:
            return
        if epoch.is_best:
            self._best = f"best objective {number(epoch.valid.objective)}"
        text = f"valid {in_words(epoch.valid)}; {self._best}"
        if alarm and not self._alarm and not self._quiet:
            said = spoken(f"alarm, epoch {epoch.epoch}: {alarm}")
            self._print(said, "bold red")
        self._alarm = alarm
        if alarm:
            text = f"{text}; POSTERIOR COLLAPSE"
        text += self._compiled
        held_out = number(epoch.valid.objective)
        shown = f"[bold red]collapsed[/], valid {held_out}" if alarm else f"valid {held_out}"
        self._progress.update(self._task, figures=shown)
        if self._line is not None:
            self._line.show(f"epoch {epoch.epoch}/{self._epochs}: {text}")
        elif epoch.epoch >= self._due and not self._quiet:
            line = f"epoch {epoch.epoch}/{self._epochs}: {text}"
            self._print(line)
            self._compiled = ""  # printed once
            self._due = min(self._epochs, epoch.epoch - epoch.epoch % self._every + self._every)

    def _print(self, line: str, style: str = "") -> None:
        """Print a line above the bar; in a terminal it ends between words, in a log it is one."""
        console = self._progress.console
        console.print(line, soft_wrap=not console.is_terminal, markup=False, style=style)


def in_words(figures: "Figures") -> str:
    """The bound, in nats per datum, as the difference of its terms where it equals that."""
    reconstruction, kl = number(figures.reconstruction), number(figures.kl)
    if figures.elbo is None or figures.kl is None:
        return f"reconstruction {reconstruction} (no bound)"
    # Importance-weighted bounds combine several draws; their terms are means over the draws.
    if abs(figures.elbo - (figures.reconstruction - figures.kl)) > 0.005:
        return f"elbo {number(figures.elbo)} (reconstruction {reconstruction}, kl {kl})"
    return f"elbo {number(figures.elbo)} = {reconstruction} - {kl} kl"
