"""Contenders set up one after another, then asked in turn: one of them computes at any time."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from .contenders import CONTENDERS
from .job import Job
from .table import under_way
from .worker_process import WorkerFailed, WorkerProcess

__all__ = ["Result", "race", "ratio", "took_part"]


@dataclass
class Result:
    """What became of a contender; ``None`` is what it did not live to tell.

    Attributes:
        ms: milliseconds per step, round by round.
        loss: where its last step stood, nats per datum; NaN where it climbs nothing.
        seconds: what setting it up took, compiling included.
        peak_mib: largest resident memory of its process.
        versions: of what it ran on.
        threads: of torch's, where it has torch.
        note: what failed; empty if nothing did.
    """

    ms: list[float] = field(default_factory=list)
    loss: float | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        """Milliseconds per step."""
        return statistics.median(self.ms) if self.ms else None

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Make a failure of the worker a note, and forget the rounds before it."""
        try:
            yield
        except WorkerFailed as failure:
            self.note = str(failure)
            self.ms.clear()


def ratio(one: Result | None, other: Result | None) -> float | None:
    """How many times as long ``one`` takes as ``other``: the median of the ratios in each round.

    ``None`` where either did not run.
    """
    if one is None or other is None or not (one.ms and other.ms):
        return None
    return statistics.median(a / b for a, b in zip(one.ms, other.ms, strict=True))


def took_part(results: Iterable[Result]) -> dict[str, Any]:
    """Every library, once, and torch's threads: ``versions`` and ``threads`` of `publish`."""
    versions: dict[str, str] = {}
    threads = []
    for result in results:
        versions |= result.versions
        threads += [result.threads] if result.threads else []
    return {"versions": versions, "threads": threads}


def race(names: Sequence[str], job: Job, rounds: int, steps: int) -> dict[str, Result]:
    """Time ``steps`` steps of each contender in each round, in an order that rotates."""
    results = {name: Result() for name in names}
    workers: dict[str, WorkerProcess] = {}
    with ExitStack() as stack:
        report = stack.enter_context(under_way())
        # What workers write goes with them.
        temporary = TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True)
        folder = stack.enter_context(temporary)
        for name in names:
            report(f"{job.shape}: setting up {CONTENDERS[name].title}")
            result = results[name]
            with result.noting():
                workers[name] = stack.enter_context(WorkerProcess(name, job, folder))
                ready = workers[name].set_up()
                result.seconds, result.threads = ready["seconds"], ready["threads"]
                result.versions = ready["versions"]
        for number in range(rounds + 1):  # the first is not counted: it warms the machine's caches
            report(f"{job.shape}: round {number} of {rounds}")
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                result = results[name]
                if not result.note:
                    with result.noting():
                        answer = workers[name].take(steps)
                        result.loss = answer["loss"]
                        if number:
                            result.ms.append(answer["seconds"] / steps * 1e3)
        for name, result in results.items():
            if not result.note:
                with result.noting():
                    result.peak_mib = workers[name].finish()
    return results
