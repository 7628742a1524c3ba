"""The whole comparison: runs measured on the same rows, and their differences."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ppvae.comparison.files import write_comparison
from ppvae.comparison.held_out.figure import draw_runs
from ppvae.comparison.held_out.grouping import differing, grouped, names_of
from ppvae.comparison.held_out.likeness import check_measured_alike, check_rows_alike
from ppvae.comparison.held_out.measuring import measure
from ppvae.comparison.held_out.page import page_of
from ppvae.comparison.held_out.result import OneRun, RunComparison
from ppvae.comparison.held_out.sentence import conclusion, notes
from ppvae.comparison.held_out.statistics import rows_of
from ppvae.data import Split, as_split
from ppvae.programs.streams import Stream
from ppvae.run import Run
from ppvae.settings import CompareRuns


def same_rows(runs: Sequence[Run], splits: Sequence[Split], asked: CompareRuns) -> Sequence[Split]:
    """The rows on which all runs are compared: for each run with the fields of its data besides x.

    Raises:
        InputError: where the rows differ between runs.
    """
    check_rows_alike(runs, splits)
    count = len(splits[0])
    if asked.rows is None or asked.rows >= count:
        return splits
    chosen = Stream.EXAMINED_ROWS.rows(count, asked.rows, asked.seed)
    return [as_split(**rows.frozen(0).take(chosen)) for rows in splits]


def compare_on(
    runs: Sequence[Run],
    rows: Sequence[Split],
    data: str,
    asked: CompareRuns,
    device: torch.device,
    path: Path,
    on_rows: Callable[[int], None],
) -> RunComparison:
    """Compare runs on rows.

    Args:
        runs: finished runs of the same data.
        rows: the rows, for each run.
        data: their name, such as ``"test"``.
        asked: the settings of the comparison.
        device: where to compute.
        path: the folder to write.
        on_rows: called with the number of rows finished.

    Raises:
        InputError: where log p(x) differs in kind between two runs, or is not finite.
    """
    evidence, scale = check_measured_alike(runs, rows)
    groups = grouped(runs)
    figures: dict[int, OneRun] = {}
    for run, own in zip(runs, rows, strict=True):
        figures[id(run)] = measure(run, own, asked.samples, asked.seed, device, on_rows)
    compared = rows_of(
        [[figures[id(run)] for run in group] for group in groups],
        names_of(groups),
        differing(groups),
    )
    kind = "training" if asked.data is None and asked.split == "train" else "held-out"
    return RunComparison(
        rows=compared,
        kind=kind,
        data=data,
        count=len(rows[0]),
        samples=asked.samples,
        evidence=evidence,
        measure=scale,
        sentence=conclusion(compared, data, len(rows[0]), f"{kind} {evidence}"),
        notes=tuple(notes(compared, asked.samples, evidence, scale)),
        warnings=tuple(f"{run.path}: {sentence}" for run in runs for sentence in run.warnings),
        path=path,
    )


def write_runs(result: RunComparison, asked: CompareRuns) -> None:
    """Write ``comparison.json``, ``log_p.csv``, the figure and the page, all or nothing."""
    columns = {str(run.path): run.log_p for row in result.rows for run in row.runs}
    lines = [",".join(f'"{name}"' for name in columns)]
    lines += [
        ",".join(f"{value:.6f}" for value in line)
        for line in torch.stack(list(columns.values()), 1).tolist()
    ]
    settings = {"split": asked.split, "seed": asked.seed, "checkpoint": asked.checkpoint}
    write_comparison(
        result.path,
        result.record() | {"settings": settings},
        {"compare": lambda: draw_runs(result.rows, result.what)},
        {"log_p.csv": "\n".join(lines) + "\n", "compare.html": page_of(result, asked)},
        overwrite=asked.overwrite,
        kind=asked.figures,
    )
