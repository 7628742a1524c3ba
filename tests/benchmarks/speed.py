"""The first table: what a step costs each contender, and the bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .bars import bars, verdict
from .contenders import CONTENDERS, LIMIT, REFERENCE
from .data import origin
from .job import Job
from .machine import machine, versions
from .race import Result, race, ratio
from .table import figure, say, show, write

__all__ = ["speed"]

_SHAPES = {"mlp": "784-400-20-400-784", "conv": "convolutional 28 x 28"}


def speed(jobs: Sequence[Job], names: Sequence[str], rounds: int, steps: int, out: Path) -> None:
    """Race the contenders at each job, print the tables and write them."""
    raced = {job: race(names, job, rounds, steps) for job in jobs}
    results = [result for of_job in raced.values() for result in of_job.values()]
    for job, of_job in raced.items():
        _show(job, of_job, rounds, steps)
    where, what = machine(jobs[0].device, results), versions(results)
    say(f"machine: {where}\nversions: {what}\ndata: {origin()}")
    rows = [
        {
            "shape": job.shape,
            "contender": name,
            "ms_per_step": result.median,
            f"ratio_to_{REFERENCE}": ratio(result, of_job.get(REFERENCE)),
            f"ratio_to_{LIMIT}": ratio(result, of_job.get(LIMIT)),
            "setup_seconds": result.seconds,
            "peak_mib": result.peak_mib,
            "loss": result.loss,
            "note": result.note,
            "device": job.device,
            "rounds": rounds,
            "steps": steps,
            "data": origin(),
            "machine": where,
            "versions": what,
        }
        for job, of_job in raced.items()
        for name, result in of_job.items()
    ]
    write(out, rows)


def _show(job: Job, results: Mapping[str, Result], rounds: int, steps: int) -> None:
    rows = [
        (
            CONTENDERS[name].title,
            figure(result.median),
            figure(ratio(result, results.get(REFERENCE))),
            figure(ratio(result, results.get(LIMIT))),
            figure(result.seconds, 1),
            figure(result.peak_mib, 0),
            figure(result.loss, 1),
            result.note,
        )
        for name, result in results.items()
    ]
    title = f"{_SHAPES[job.shape]}, batch {job.batch}, {job.device}: {rounds} rounds of {steps}"
    header = ("", "ms/step", "/ Pyro", "/ products", "set-up s", "peak MiB", "loss", "")
    show(title, header, rows)
    verdicts = []
    for bar in bars(job):
        if not {bar.contender, bar.rival} <= results.keys():
            continue
        reached = ratio(results[bar.contender], results[bar.rival])
        titles = f"{CONTENDERS[bar.contender].title} / {CONTENDERS[bar.rival].title}"
        verdicts.append((titles, figure(bar.most), figure(reached), verdict(reached, bar.most)))
    if verdicts:
        show("bars", ("", "at most", "is", ""), verdicts)
