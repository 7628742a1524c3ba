"""A comparison of runs as one page that opens offline: ``compare.html``."""

from collections.abc import Iterator
from pathlib import Path
from shlex import join

from ppvae.comparison.held_out.figure import alt_text, draw_runs
from ppvae.comparison.held_out.result import RunComparison
from ppvae.comparison.held_out.table import settings_table
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import as_sentence, decimals, with_error
from ppvae.report.commands import handed
from ppvae.report.pictures import drawn
from ppvae.report.rendering import rendered
from ppvae.report.sections import Section, Table, Tile
from ppvae.run import Run
from ppvae.settings import CompareRuns, settings_of


def page_of(result: RunComparison, asked: CompareRuns) -> str:
    """The page: the conclusion, what differs, each run, and the command that makes it again."""
    count = sum(len(row.runs) for row in result.rows)
    return rendered(
        f"{count} runs compared",
        f"{result.what.capitalize()} on {result.count:,} {result.data} rows, in nats per datum",
        list(_sections(result, asked)),
    )


def _sections(result: RunComparison, asked: CompareRuns) -> Iterator[Section]:
    header, lines = result.table()
    picture = drawn(draw_runs(result.rows, result.what), alt_text(result.rows, result.what))
    error = "\N{PLUS-MINUS SIGN} one standard error"
    caption = f"{result.samples:,} importance samples of each datum; {error}"
    told = result.sentence, *map(as_sentence, result.notes), *result.warnings
    yield Section("glance", "At a glance", (result.sentence,), tiles=tuple(_tiles(result)))
    yield Section(
        "verdict", "Comparison", told[1:], pictures=(picture,),
        tables=(Table(caption, header, tuple(lines), prose=True, is_open=True),),
    )  # fmt: skip
    header, lines = settings_table(result)
    if lines:
        yield Section(
            "settings", "What differs", ("Settings in which they differ.",),
            tables=(Table("Settings", header, tuple(lines), is_open=True),),
        )  # fmt: skip
    yield Section(
        "runs", "Each run", (), tables=(_runs(result),), commands=tuple(_command(result, asked))
    )


def _tiles(result: RunComparison) -> Iterator[Tile]:
    """The best run, its lead over the next, and how much of its latent it uses."""
    best = result.best
    error = f"\N{PLUS-MINUS SIGN} {decimals(best.log_p.error)}"
    yield Tile("Best", best.name, f"of {len(result.rows)} settings")
    yield Tile(
        result.what.capitalize(), f"{decimals(best.log_p.mean)} {error}",
        f"{result.count:,} {result.data} rows, nats per datum",
    )  # fmt: skip
    if len(result.rows) > 1:
        nearest = result.rows[1]
        lead = nearest.difference
        told = "significant" if nearest.is_lower else "not significant"
        covered = "rows only, one seed each" if lead.seed_error is None else "rows and seeds"
        yield Tile(
            "Lead over the next",
            f"{decimals(-lead.mean)} \N{PLUS-MINUS SIGN} {decimals(lead.error)}",
            f"over {nearest.name}, {told}; error over {covered}",
            "good" if nearest.is_lower else "fair",
        )  # fmt: skip
    latents = best.mean("effective_latents")
    yield Tile(
        "Effective latents", "\N{EN DASH}" if latents is None else decimals(latents, 1),
        f"of the best; {decimals(best.mean('seconds'), 0)} s of training",
    )  # fmt: skip


def _runs(result: RunComparison) -> Table:
    lines = tuple(
        (
            str(run.path), row.name, str(run.seed), with_error(Estimate.of(run.log_p)),
            with_error(run.elbo), with_error(run.rate), decimals(run.ess, 1),
        )
        for row in result.rows
        for run in row.runs
    )  # fmt: skip
    header = ("run", "row", "seed", result.evidence, "bound", "rate", "effective samples")
    return Table("Figures of each run, nats per datum", header, lines, prose=True, is_open=True)


def _command(result: RunComparison, asked: CompareRuns) -> Iterator[str]:
    """The command of the comparison, if a command can name all runs and data."""
    runs = [run for run in asked.runs if isinstance(run, Run) and handed(run)]
    if runs or not isinstance(asked.data, (str, Path, type(None))):
        return
    words = [str(run.path) for row in result.rows for run in row.runs]
    plain = settings_of(CompareRuns)
    for name in ("data", "split", "data_dir", "label", "rows", "samples", "seed", "checkpoint"):
        value = getattr(asked, name)
        if value is not None and value != plain[name][0].default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for module in asked.trust:
        words += ["--trust", module]
    yield join(["python", "-m", "ppvae.compare", *words, "--out", str(result.path), "--overwrite"])
