"""One contender in a process of its own, which computes only when it is asked to.

``python -m tests.benchmarks.worker NAME JOB``. It speaks in lines of JSON: when it is set up it
says so, ``{"seconds": s, "versions": {...}, "threads": n}``; it answers ``{"steps": n}`` with
``{"seconds": s, "loss": l}``, and no steps with ``{"bound": b}``, that of its weights on held-out
images; the end of its input it answers with ``{"peak_mib": m}``, and ends.
Whatever fails is answered with ``{"failed": "a few words"}``.
"""

import json
import os
import resource
import sys
import time
from importlib import import_module
from typing import Any, TextIO

from .contenders import CONTENDERS
from .held_out import held_out_bound
from .job import Job, Run

WARM_UP = 3  # steps; a compiler that records what it replays needs more than one


def main() -> None:
    """Set up the contender, then obey."""
    # What libraries print must not be taken for an answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        name, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
        try:
            run, ready = _set_up(name, job)
            _say(answers, ready)
            for line in sys.stdin:
                steps = json.loads(line)["steps"]
                _say(answers, _timed(run, steps) if steps else _judged(run, job))
            _say(answers, {"peak_mib": _peak_mib()})
        except Exception as error:  # whatever it is, the table says it
            _say(answers, {"failed": f"{type(error).__name__}: {error}"})
            raise


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _set_up(name: str, job: Job) -> tuple[Run, dict[str, Any]]:
    """Make the contender and warm it up: its imports are no part of the seconds."""
    contender = CONTENDERS[name]
    versions = {"python": sys.version.split()[0]}
    for library in contender.uses:
        versions[library] = contender.version(library)
        import_module(library)
    make = contender.maker()
    started = time.perf_counter()
    run = make(job)
    run.take(WARM_UP)
    seconds = time.perf_counter() - started
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else None
    return run, {"seconds": seconds, "versions": versions, "threads": threads}


def _timed(run: Run, steps: int) -> dict[str, float]:
    started = time.perf_counter()
    loss = run.take(steps)
    return {"seconds": time.perf_counter() - started, "loss": loss}


def _judged(run: Run, job: Job) -> dict[str, float]:
    return {"bound": held_out_bound(job, *run.weights())}


def _peak_mib() -> float:
    """The largest resident memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
