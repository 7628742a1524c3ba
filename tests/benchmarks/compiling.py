"""Table of the seconds to compile a training step, in a first and a second process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

from .bars import Bar
from .data import ROOT
from .job import Job
from .machine import versions
from .plan import Plan
from .table import figure, publish, show, under_way

__all__ = ["compiling"]

MOST = {"first": 12.0, "second": 3.0}
"""Bar: seconds to compile in the first process, and in the second."""

_STEPS = 3
"""Timed steps: programs may create parameters in the first, and are compiled in the second."""


def compiling(plan: Plan) -> None:
    """Take the first steps in two processes in a row, which share a cache that starts empty."""
    rows: list[dict[str, Any]] = []
    with under_way() as say_what:
        for job in plan.jobs:
            with tempfile.TemporaryDirectory() as folder:
                for process in MOST:
                    say_what(f"{job.shape}, {process} process")
                    seconds = _child(job, folder)
                    rows.append({"shape": job.shape, "process": process, "seconds": seconds})
    shown = [(row["shape"], row["process"], figure(row["seconds"], 1)) for row in rows]
    show("compiling a training step", ("shape", "process", "seconds"), shown)
    bars = [
        Bar(f"seconds to compile {row['shape']}, {row['process']} process",
            MOST[row["process"]], row["seconds"])
        for row in rows
    ]  # fmt: skip
    publish(plan, rows, bars, versions=versions("torch", "pyro"))


def _child(job: Job, folder: str) -> float:
    """Seconds of the first steps in a fresh process whose compiled code is cached in ``folder``."""
    command = [sys.executable, "-m", "tests.benchmarks.compiling", json.dumps(asdict(job))]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True
    )
    return float(done.stdout.splitlines()[-1])


def timed(job: Job) -> float:
    """Seconds of the first compiled steps; later ones take milliseconds."""
    from .contenders.ours import make

    take = make(job, compiled=True, precision="32").take
    started = time.perf_counter()
    take(_STEPS)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(timed(Job(**json.loads(sys.argv[1]))))
