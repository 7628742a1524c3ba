"""The second table: what a step of ours costs as the batch, the latent space and particles grow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS
from .job import Job
from .machine import machine, versions
from .race import race
from .table import figure, say, show, write

__all__ = ["scaling"]

_CONTENDERS = ("ours", "ours-compiled")
_BATCHES = (32, 128, 512, 1024, 4096)
_LATENTS = (2, 20, 100)
_PARTICLES = (1, 5, 20)


def scaling(jobs: Sequence[Job], rounds: int, steps: int, out: Path) -> None:
    """Vary one thing at a time, each point in fresh processes; print the table and write it.

    A round has as many data as ``steps`` steps of the job itself: few steps where a step is large.
    """
    points = {
        point: None
        for job in jobs
        for point in (
            *(replace(job, batch=batch) for batch in _BATCHES),
            *(replace(job, latent=latent) for latent in _LATENTS),
            *(replace(job, particles=particles) for particles in _PARTICLES),
        )
    }
    data = steps * jobs[0].batch
    raced = {
        job: race(_CONTENDERS, job, rounds, max(1, data // (job.batch * job.particles)))
        for job in points
    }
    results = [result for of_job in raced.values() for result in of_job.values()]
    where, what = machine(jobs[0].device, results), versions(results)
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
            "machine": where,
            "versions": what,
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
    say(f"machine: {where}\nversions: {what}")
    write(out, rows)
