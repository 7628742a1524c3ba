"""A diagnosis in the terminal: an answer a table, then the verdict."""

from ppvae.diagnostics.diagnosis.finding import plus_minus
from ppvae.diagnostics.diagnosis.result import Diagnosis

__all__ = ["show_diagnosis"]


def show_diagnosis(result: Diagnosis) -> None:
    """Print each answer, or why there is none; where the nats are lost; the verdict."""
    from ppvae.cli.terminal import say, show_table

    say(f"{result.data} data, {result.rows:,} rows; nats per datum, +- one standard error")
    for finding in result.findings.values():
        if finding.rows:
            show_table(finding.question, ("", "value", ""), finding.rows)
        for what, why in finding.refusals.items():
            say(f"note: {what}: {why}")
    losses = [
        (loss.where, plus_minus(loss.nats, loss.error), loss.remedy)
        for loss in result.verdict.losses
    ]
    if losses:
        show_table("Where the nats are lost", ("", "nats", "what to change"), losses)
    say("Verdict")
    for sentence in result.verdict.sentences:
        say(f"  {sentence}")
    names = ("diagnostics.json", "figures", "posterior.nc", "report.html")
    there = ", ".join(name for name in names if (result.path / name).exists())
    say(f"everything is in {result.path}: {there}")
