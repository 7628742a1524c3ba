"""Table of the cost of a step of each contender."""

from collections.abc import Mapping

from .bars import Bar
from .contenders import CONTENDERS, LIMIT, REFERENCE
from .data import origin
from .job import Job
from .plan import Plan
from .race import Result, race, ratio, took_part
from .table import figure, publish, show

__all__ = ["speed"]

_SHAPES = {"mlp": "784-400-20-400-784", "conv": "convolutional 28 x 28"}


BARS = (
    ("ours-compiled", "pyro-meanfield", 0.50),
    ("ours-compiled", "torch", 0.80),
    ("ours-compiled", "torch-compiled", 0.95),
    ("ours-compiled", "products", 1.25),
    ("ours-compiled", "numpyro-loop", 1.00),
    ("ours-bf16", "numpyro-loop", 0.65),
    ("ours", "pyro-meanfield", 1.00),
)
"""Bars: a contender, its rival, and the ratio of their times."""
_CUDA = (("ours-compiled", "torch-cudagraphs", 1.00),)


def speed(plan: Plan) -> None:
    """Race the contenders at each job."""
    rounds, steps = plan.rounds, plan.steps
    raced = {job: race(plan.only, job, rounds, steps) for job in plan.jobs}
    results = [result for of_job in raced.values() for result in of_job.values()]
    for job, of_job in raced.items():
        _show(job, of_job, rounds, steps)
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
        }
        for job, of_job in raced.items()
        for name, result in of_job.items()
    ]
    bars = [bar for job, of_job in raced.items() for bar in _bars(job, of_job)]
    publish(plan, rows, bars, **took_part(results))


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
    title = (
        f"{_SHAPES[job.shape]}, batch {job.batch}, {job.device}: {rounds} rounds of {steps}; "
        f"data: {origin()}"
    )
    header = ("", "ms/step", "/ Pyro", "/ products", "set-up s", "peak MiB", "loss", "")
    show(title, header, rows)


def _bars(job: Job, results: Mapping[str, Result]) -> list[Bar]:
    """The bars of this job whose contenders took part."""
    if job.shape != "mlp":
        return []
    return [
        Bar(
            f"{CONTENDERS[name].title} / {CONTENDERS[rival].title}",
            most,
            ratio(results[name], results[rival]),
        )
        for name, rival, most in (_CUDA if job.device == "cuda" else BARS)
        if {name, rival} <= results.keys()
    ]
