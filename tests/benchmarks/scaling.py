"""Table of the cost of a step of this package by batch, latent size and particles."""

from dataclasses import replace
from typing import Any

from .contenders import CONTENDERS
from .plan import Plan
from .race import race, took_part
from .table import figure, publish, show

__all__ = ["scaling"]

_CONTENDERS = ("ours", "ours-compiled")
_BATCHES = (32, 128, 512, 1024, 4096)
_LATENTS = (2, 20, 100)
_PARTICLES = (1, 5, 20)


def scaling(plan: Plan) -> None:
    """Vary one setting at a time, each point in fresh processes.

    All rounds process the same number of data, so large steps are few.
    """
    points = {
        point: None
        for job in plan.jobs
        for point in (
            *(replace(job, batch=batch) for batch in _BATCHES),
            *(replace(job, latent=latent) for latent in _LATENTS),
            *(replace(job, particles=particles) for particles in _PARTICLES),
        )
    }
    data = plan.steps * plan.jobs[0].batch
    raced = {
        job: race(_CONTENDERS, job, plan.rounds, max(1, data // (job.batch * job.particles)))
        for job in points
    }
    results = [result for of_job in raced.values() for result in of_job.values()]
    rows: list[dict[str, Any]] = [
        {
            "shape": job.shape,
            "batch": job.batch,
            "latent": job.latent,
            "particles": job.particles,
            "contender": name,
            "ms_per_step": result.median,
            "us_per_datum": result.median and result.median * 1e3 / job.batch,
            "peak_mib": result.peak_mib,
            "note": result.note,
            "device": job.device,
        }
        for job, of_job in raced.items()
        for name, result in of_job.items()
    ]
    header = ("", "batch", "latent", "particles", "ms/step", "us/datum", "peak MiB", "")
    for name in _CONTENDERS:
        shown = [
            (
                row["shape"],
                str(row["batch"]),
                str(row["latent"]),
                str(row["particles"]),
                figure(row["ms_per_step"]),
                figure(row["us_per_datum"], 1),
                figure(row["peak_mib"], 0),
                row["note"],
            )
            for row in rows
            if row["contender"] == name
        ]
        show(CONTENDERS[name].title, header, shown)
    publish(plan, rows, **took_part(results))
