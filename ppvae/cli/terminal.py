"""Terminal output: the audit, progress, and results."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ppvae.cli.flags_in_sentences import spoken
from ppvae.programs.facts import Audit

if TYPE_CHECKING:  # for their types alone: the loop takes seconds to import
    from lightning_fabric import Fabric

    from ppvae.data import Data
    from ppvae.diagnostics.baselines.comparison import Baselines
    from ppvae.run import Run
    from ppvae.training.chosen_parts import Chosen
    from ppvae.training.summary import Summary
    from ppvae.training.trainer import Trainer

console = Console(highlight=False, soft_wrap=True)
"""Console for results: standard output, plain text where it is no terminal."""

progress_console = Console(stderr=True, highlight=False)
"""Console for progress: standard error."""


MINUTE = 60.0
"""Seconds between two lines of a log."""


def say(sentence: str, style: str = "", *, whole: bool = False) -> None:
    """Print a sentence, with flags in a command. The style applies to terminals only.

    In a terminal, lines end between words. With ``whole`` the terminal breaks them, so that a
    command can be copied. Elsewhere a sentence is one line.
    """
    text = spoken(sentence)
    if console.is_terminal and not whole:
        indent = " " * (len(text) - len(text.lstrip()))
        lines = TextWrapper(
            console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        text = lines.fill(text)
    console.print(text, markup=False, style=style)


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a small table: numbers right-aligned, the first column and sentences left-aligned."""
    from ppvae.diagnostics.shared.wording import is_left

    table = Table(title=title or None, box=box.SIMPLE, title_justify="left", pad_edge=False)
    for i, name in enumerate(header):
        justify: JustifyMethod = "left" if is_left(rows, i) else "right"
        # Names and sentences wrap, figures do not.
        table.add_column(name, justify=justify, overflow="fold", no_wrap=justify == "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def show_audit(audit: Audit, elbo: str) -> None:
    """Print the audit, site by site, and its notes."""
    rows = [
        (
            site.name,
            site.model,
            site.guide or "observed",
            site.kl,
            "x".join(map(str, site.shape[1:])) or "1",
            f"{site.scale:g}",
        )
        for site in audit.sites
    ]
    header = ("site", "model", "guide", "KL", "per datum", "scale")
    show_table(f"model and guide agree; {elbo} takes", header, rows)
    for note in audit.notes:
        say(f"note: {note}")


def show_introduction(
    data: "Data", chosen: "Chosen", trainer: "Trainer", where: str, *, is_compiled: bool
) -> None:
    """Print a description of the data, the audit, the number of parameters and the device."""
    bound, beta, name = trainer.bound, trainer.plan.beta, chosen.elbo.spec.class_path
    count = sum(p.numel() for p in bound.pair.parameters() if p.requires_grad)
    say(data.describe())
    show_audit(bound.audit, name)
    if not bound.audit.is_bound and beta > 0:
        say(
            f"note: at `beta={beta:g}` a point mass maximizes log p(x | z) + {beta:g} log p(z), "
            "which gives maximum a posteriori codes; the plain autoencoder is `beta=0`"
        )
    if bound.traits.weighs_draws:
        if bound.elbo.num_particles == 1:
            say(f"note: with one draw {name} is the evidence lower bound; give `particles=5`")
        elif not bound.is_lower:
            say(
                f"note: with these arguments {name} is no lower bound on log p(x); the reported "
                "elbo is the importance-weighted bound of the same draws"
            )
    how = ", compiled" if is_compiled else ""
    say(f"{count:,} parameters on {trainer.device}{how}; {where}")


def show_summary(summary: "Summary") -> None:
    """Print the final figures of a fit, with warnings before and after them."""
    from ppvae.diagnostics.bound.activity import THRESHOLD
    from ppvae.training.summary import SAMPLES

    figures, evidence, bits = summary.figures, summary.evidence, summary.bits_per_dim
    _show_warnings(summary)
    bound = (number(figures.elbo), "") if summary.is_bound else ("none", "point mass")
    rows = [
        ("bound (elbo)", *bound),
        ("reconstruction", number(figures.reconstruction), "E_q[log p(x | z)]"),
    ]
    if figures.kl is not None:
        rows.append(("KL", number(figures.kl), "KL(q(z | x) || p(z))"))
    if summary.beta != 1 or figures.elbo is None:
        rows.append(("objective", number(figures.objective), f"at beta = {summary.beta:g}"))
    if summary.log_p is not None:
        error = f"standard error {number(summary.log_p_error)}"
        rows.append((f"{evidence}, K = {SAMPLES}", number(summary.log_p), error))
    if bits is not None:
        what = f"-{evidence} / ln 2 per observed element, K = {SAMPLES}"
        rows.append(("bits/dim", f"{bits:.3f}", what))
    if (told := summary.classification) is not None:
        what = f"of the most probable class; standard error {told.standard_error:.3f}"
        rows.append(("accuracy", f"{told.accuracy:.3f}", what))
    if summary.effective_latents is not None:
        what = f"of {summary.latent_dimensions}: exp of the entropy of the KL shares"
        rows.append(("effective latents", number(summary.effective_latents, 1), what))
    if summary.active_units is not None:
        what = f"of {summary.latent_dimensions}: Var E_q[z | x] > {THRESHOLD}"
        rows.append(("active units", str(summary.active_units), what))
    show_table(f"test data ({summary.rows:,} rows), nats per datum", ("", "value", ""), rows)
    if (figures.elbo or figures.reconstruction) > 0:
        say("note: x is continuous, so these are log-densities, which may be above 0")
    show_baselines(summary.baselines)
    _show_warnings(summary)


def _show_warnings(summary: "Summary") -> None:
    for sentence in summary.status.warnings:
        say(f"WARNING: {sentence}", "bold yellow")


def show_baselines(found: "Baselines") -> None:
    """Print baselines on the same rows, and the lead of the fit over each."""
    from ppvae.diagnostics.shared.wording import with_error

    rows = [
        (about, number(log_p.mean), "-" if difference is None else with_error(difference))
        for about, log_p, difference in found.rows
    ]
    if rows:
        header = ("", found.evidence, "lead of the fit")
        show_table("simple models of the same rows, nats per datum", header, rows)
    if found.note:
        say(f"note: {found.note}")
    if found.strongest is not None:
        say(
            f"note: {found.evidence} from importance samples is a lower bound in expectation, and "
            "so is each difference"
        )
    for reason, names in found.reasons.items():
        say(f"note: no baseline {names}: {reason}")


def show_seeds(runs: Sequence["Run"]) -> None:
    """Print the figures of fits with different seeds."""
    rows = []
    for run in runs:
        summary = run.summary or {}
        log_p = (summary.get("log_p") or {}).get("mean")
        rows.append(
            (run.path.name, number(summary.get("elbo")), number(log_p), str(summary.get("status")))
        )
    show_table("test data, nats per datum", ("", "bound", "log p(x)", ""), rows)
    say(f"{len(runs)} runs are in {runs[0].path.parent}")


def number(value: float | None, digits: int = 2) -> str:
    """A number as printed; a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


@contextmanager
def bar(what: str, total: int, done: int = 0) -> Iterator[Any]:
    """A progress bar over ``total`` things; yields a function that counts them.

    Without a terminal (in a log file), it prints a line per minute with the time left instead.

    Args:
        what: description of the work.
        total: number of things to do.
        done: number of these done before.
    """
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=progress_console,
        transient=True,
        disable=not progress_console.is_terminal,  # a file would get a blank line
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=total, completed=done)
        begun = said = time.monotonic()
        now = done

        def count(more: int = 1) -> None:
            nonlocal now, said
            now += more
            progress.advance(task, more)
            if progress.disable and not progress_console.quiet and time.monotonic() - said > MINUTE:
                said = time.monotonic()
                left = (said - begun) * (total - now) / max(1, now - done) / 60
                progress_console.print(f"{what}: {now:,} of {total:,}, {left:,.0f} min left")

        yield count


def teller(fabric: "Fabric") -> Callable[[str], None]:
    """A function that prints a sentence, in the first process only."""
    return say if fabric.is_global_zero else lambda _: None
