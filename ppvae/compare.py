"""Compare fitted runs on the same held-out rows, or two bounds on one program.

python -m ppvae.compare runs/a runs/b runs/c                       # runs: which one is better?
python -m ppvae.compare runs/a-* runs/b --rows 1000 --samples 200  # seeds of a setting: one row
python -m ppvae.compare runs/a runs/b --data new.npy               # on other data

python -m ppvae.compare                                            # bounds: offline, under a minute
python -m ppvae.compare --seeds 10 --epochs 50 --draws 1000        # tighter errors
python -m ppvae.compare --run runs/digits-20260101-120000          # the program of a run
python -m ppvae.compare --likelihood Gaussian --decoder MLP --decoder.hidden 200,200
python -m ppvae.compare --model mine.model --guide mine.guide      # your own Pyro programs
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("compare")

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from ppvae.cli.answering import answer
from ppvae.cli.flags_in_sentences import flag
from ppvae.cli.given import given_settings
from ppvae.comparison.bounds.comparing import compared, fit_and_measure, total
from ppvae.comparison.bounds.files import write_bounds
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Comparison
from ppvae.comparison.bounds.subject import new_subject, subject_of
from ppvae.comparison.bounds.table import table_rows
from ppvae.comparison.files import check_folder
from ppvae.comparison.held_out.likeness import check_data_alike, check_each_once, check_finished
from ppvae.comparison.held_out.result import SHORT, RunComparison
from ppvae.encode import rows_of
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import restored
from ppvae.run import Run
from ppvae.run.folder import free_folder
from ppvae.settings import CompareBounds, CompareRuns, settings_of, takes
from ppvae.settings.values import Opened
from ppvae.training.devices import one_device
from ppvae.training.threads import take_threads_of_fit


@overload
def compare(runs: None = None, **settings: Any) -> Comparison: ...
@overload
def compare(runs: Sequence[str | Path | Opened], **settings: Any) -> RunComparison: ...
def compare(
    runs: Sequence[str | Path | Opened] | None = None, **settings: Any
) -> Comparison | RunComparison:
    """Compare runs, or, without runs, two bounds on one program.

    Args:
        runs: run directories, or open runs.
        settings: settings of `compare_runs`, or without runs of `compare_bounds`.

    Raises:
        InputError: as in these functions.
    """
    return compare_bounds(**settings) if runs is None else compare_runs(runs, **settings)


@alone
@takes(CompareRuns)
def compare_runs(asked: CompareRuns) -> RunComparison:
    """Compare log p(x) of runs on the same held-out rows, with errors of the differences.

    log p(x) of each datum is estimated by importance sampling, a lower bound in expectation.
    Differences are paired by datum, so their errors are often far below those of the values. Runs
    whose settings differ only in the seed are one row, with an error over seeds. The table also has
    the bound, the rate (the KL), effective latents, parameters and time. The folder has
    ``comparison.json``, ``log_p.csv`` (one line per datum, one column per run), the figure, and
    ``compare.html``.

    Raises:
        InputError: for fewer than two runs, for a run that is damaged, unfinished or has no log
            p(x), and for runs whose data, binarization, scaling or measure differ.
    """
    from ppvae.cli.terminal import bar
    from ppvae.comparison.held_out.comparing import compare_on, same_rows, write_runs

    paths = [run.path if isinstance(run, Run) else Path(str(run)) for run in asked.runs]
    check_each_once(paths)
    if asked.out is not None:
        check_folder(Path(asked.out), overwrite=asked.overwrite)
    with restored():
        runs = [
            run if isinstance(run, Run)
            else Run(str(run), trust=asked.trust, checkpoint=asked.checkpoint)
            for run in asked.runs
        ]  # fmt: skip
        take_threads_of_fit(runs[0].resolved.get("threads"))
        for run in runs:
            check_finished(run)
        check_data_alike(runs, is_new=asked.data is not None)
        own = asked.data, asked.split, asked.data_dir, asked.label
        rows = same_rows(runs, [rows_of(run, *own) for run in runs], asked)
        name: str = asked.split if asked.data is None else "given"
        if isinstance(asked.data, (str, Path)):
            name = Path(asked.data).stem
        about = runs[0].resolved["data"].get("name") if asked.data is None else name
        folder = free_folder(Path("runs"), f"compare-{about}") if asked.out is None else asked.out
        with bar("importance sampling", len(runs) * len(rows[0])) as count:
            result = compare_on(
                runs, rows, name, asked, one_device(asked.device), Path(folder), count
            )
        write_runs(result, asked)
    return result


@alone
@takes(CompareBounds)
def compare_bounds(asked: CompareBounds) -> Comparison:
    """Compare Trace_ELBO and TraceMeanField_ELBO on one program.

    The fits of each seed start at the same weights and use the same batches. Their epochs
    alternate, so that other load of the machine affects both. Values and gradients are estimated on
    one batch, at the weights of the run, or else at the final weights of the first seed's fit by
    TraceMeanField_ELBO. Held-out bounds are those of the validation data, by TraceMeanField_ELBO
    for both: with the KL in closed form where there is one. The caller's random state is unchanged,
    and so are the weights of programs passed as objects.

    Raises:
        InputError: for what cannot be compared, such as a guide with a point mass, or a pair for
            which TraceMeanField_ELBO would be wrong.
    """
    if asked.out is not None:
        check_folder(Path(asked.out), overwrite=asked.overwrite)
    with restored():  # imports may draw random numbers too
        from ppvae.cli.terminal import bar, say
        from ppvae.training.processes import one_process

        subject = new_subject(asked) if asked.run is None else subject_of(_opened(asked), asked)
        fabric = one_process(asked.device, subject.settings.precision)
        say(subject.data.describe())
        for note in subject.audits[ANALYTIC].notes:
            say(f"note: {note}")
        with bar("comparing", total(asked)) as count:
            fits, noises = fit_and_measure(asked, subject, fabric, count)
        name = f"compare-{subject.data.name}"
        folder = free_folder(Path("runs"), name) if asked.out is None else Path(asked.out)
        result = compared(asked, subject, fits, noises, folder)
        setting = {"epochs": asked.epochs, "seed": asked.seed, "device": str(fabric.device)}
        write_bounds(
            result, subject.record | setting, overwrite=asked.overwrite, kind=asked.figures
        )
    return result


def _opened(asked: CompareBounds) -> Run:
    return asked.run if isinstance(asked.run, Run) else Run(str(asked.run), trust=asked.trust)


def show(result: Comparison) -> None:
    """Print the results of both bounds, the conclusion, and the folder."""
    from ppvae.cli.terminal import say, show_table

    seeds = f"{result.seeds} seed{'' if result.seeds == 1 else 's'}"
    title = f"nats per datum; {result.draws} repetitions, {seeds}"
    show_table(title, ("", SAMPLED, ANALYTIC), table_rows(result))
    say(f"same weights: {result.weights}; held-out bounds of both: {result.estimator}")
    say(result.sentence)
    say(f"everything is in {result.path}: compare.html, comparison.json, figures")
    say(f"next: read {result.path / 'compare.html'}")


def show_runs(result: RunComparison) -> None:
    """Print one line per row, the differences, the conclusion, and the folder."""
    from ppvae.cli.terminal import say, show_table
    from ppvae.comparison.held_out.grouping import UNSET

    header, lines = result.table(SHORT)
    show_table(result.title, header, lines)
    for row in result.rows:
        if told := [f"{n}={value}" for n, value in row.settings.items() if value != UNSET]:
            say(f"{row.name}: {', '.join(told)}")
    for warning in result.warnings:
        say(f"WARNING: {warning}")
    for note in result.notes:
        say(f"note: {note}")
    say(result.sentence)
    there = "compare.html, comparison.json, log_p.csv, figures"
    say(f"everything is in {result.path}: {there}")
    say(f"next: read {result.path / 'compare.html'}")


def main(argv: Sequence[str]) -> None:
    """The command: compare runs if given, else bounds; and show the result."""
    given = given_settings("compare", argv)
    runs = given.pop("runs", ())
    allowed = CompareRuns if runs else CompareBounds
    for name in given.keys() - settings_of(allowed):
        what = "two bounds on one program, without runs" if runs else "runs: name some"
        raise InputError(f"{flag(name)} belongs to a comparison of {what}")
    if runs:
        show_runs(compare_runs(runs, **given))
    else:
        show(compare_bounds(**given))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
