"""The next step for a run: one sentence, and its command."""

from collections.abc import Mapping
from shlex import join
from typing import Any, NamedTuple

from ppvae.report.commands import ask_command, ask_in_python, fit_command, handed
from ppvae.report.page_data import PageData
from ppvae.run import Run

HEALTHY = ("converged", None)


class NextStep(NamedTuple):
    """The next step.

    Attributes:
        sentence: its description.
        command: for a terminal; empty if the run needs Python objects, which no command can name.
    """

    sentence: str
    command: str = ""


def next_step(page: PageData) -> NextStep:
    """The next step by the status of the fit; for a converged fit, by its diagnosis."""
    if page.diagnosis is None or page.summary.get("status") not in HEALTHY:
        return step_after_fit(page.run, page.summary)
    told = page.diagnosis.get("sentences")
    first = str(told[0]) if isinstance(told, list) and told else ""
    return NextStep(first or "The diagnosis found nothing to change.")


def step_after_fit(run: Run, summary: Mapping[str, Any]) -> NextStep:
    """The next step by the summary of the fit, which is empty before its end."""
    status = summary.get("status")
    if not summary:
        resume = join(["python", "-m", "ppvae.fit", "--resume", str(run.path)])
        return NextStep("The fit has not ended. Resume it:", resume)
    if status not in HEALTHY:
        return _mended(run, str(status))
    if handed(run):
        return NextStep(f"Diagnose where nats are lost: {ask_in_python(run)}.")
    return NextStep("Diagnose where nats are lost, in a few minutes:", ask_command(run))


def _mended(run: Run, status: str) -> NextStep:
    """Fit again with another value of the setting that is the most likely cause."""
    config = run.config
    lr, beta, epochs = (_number(config.get(name)) for name in ("lr", "beta", "epochs"))
    change = {
        "diverged": ("a smaller learning rate", "--lr", f"{lr / 10:g}"),
        "climbing": ("twice the epochs", "--epochs", f"{2 * epochs:.0f}"),
        "collapsed": ("a warm-up of the KL", "--warm-up", f"{max(1, epochs // 4):.0f}"),
    }.get(status)
    if status == "collapsed" and beta > 1:
        change = ("a KL weight of 1", "--beta", "1")
    if change is None or handed(run):
        return NextStep(run.warnings[0] if run.warnings else f"The fit is {status}.")
    what, flag, value = change
    out = f"{run.path}-{flag.strip('-')}-{value}"
    return NextStep(
        f"Fit again with {what}:", f"{fit_command(run)} {join([flag, value, '--out', out])}"
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 1.0
