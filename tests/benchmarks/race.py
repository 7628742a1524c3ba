"""Race of contenders, which are set up one after another and then timed in turn."""

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
    """Timings of a contender; ``None`` if it failed before the measurement.

    Attributes:
        ms: milliseconds per step, by round.
        loss: loss of its last step, nats per datum; NaN if it has none.
        seconds: set-up, compiling included.
        peak_mib: peak resident memory of its process.
        versions: versions of its libraries.
        threads: torch's threads, if it uses torch.
        note: the failure; empty if there was none.
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
        """Median milliseconds per step; ``None`` without rounds."""
        return statistics.median(self.ms) if self.ms else None

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Turn a failure of the worker into a note, and discard its rounds."""
        try:
            yield
        except WorkerFailed as failure:
            self.note = str(failure)
            self.ms.clear()


def ratio(one: Result | None, other: Result | None) -> float | None:
    """Time of ``one`` over that of ``other``: the median of the ratios within rounds.

    ``None`` if either did not run.
    """
    if one is None or other is None or not (one.ms and other.ms):
        return None
    return statistics.median(a / b for a, b in zip(one.ms, other.ms, strict=True))


def took_part(results: Iterable[Result]) -> dict[str, Any]:
    """All library versions and torch's threads, as arguments of `publish`."""
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
        # Files that workers write are deleted with the folder.
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
        for number in range(rounds + 1):  # the first fills the caches and is not counted
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
