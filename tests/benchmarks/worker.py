"""Worker: a contender in its own process, which computes on request.

``python -m tests.benchmarks.worker NAME JOB`` writes lines of JSON. After the set-up it writes
``{"seconds": s, "versions": {...}, "threads": n}``. It answers ``{"steps": n}`` with
``{"seconds": s, "loss": l}``, and ``{"steps": 0}`` with ``{"bound": b}``, the bound of its weights
on held-out images. At the end of its input it writes ``{"peak_mib": m}`` and exits. A failure is
``{"failed": "a few words"}``.
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

WARM_UP = 3  # steps; CUDA graphs record only after the first


def main() -> None:
    """Set up the contender, then answer requests."""
    # Output of libraries goes to stderr, so that it is not read as an answer.
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
        except Exception as error:  # the table reports any failure
            _say(answers, {"failed": f"{type(error).__name__}: {error}"})
            raise


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _set_up(name: str, job: Job) -> tuple[Run, dict[str, Any]]:
    """Set up the contender and take the warm-up steps; imports are not timed."""
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
    """Peak resident memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
