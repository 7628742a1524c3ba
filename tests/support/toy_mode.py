"""Toy runs of the benchmarks, which test every table, script and contender.

Native code is not compiled; traced graphs are run instead.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyro
import pytest
import torch

from tests.benchmarks import race, time_to_bound, worker
from tests.benchmarks.job import Job

TINY = {"class_path": "MLP", "init_args": {"hidden": [4]}}


class Here:
    """A `WorkerProcess` in this process, with its own parameter store."""

    def __init__(self, name: str, job: Job, folder: str) -> None:
        self._name, self._job = name, job
        self._store: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @contextmanager
    def _own_store(self) -> Iterator[None]:
        with pyro.get_param_store().scope(self._store) as self._store:
            yield

    def set_up(self) -> dict[str, Any]:
        torch.manual_seed(0)
        with self._own_store():
            self._run, ready = worker._set_up(self._name, self._job)
        return ready

    def take(self, steps: int) -> dict[str, float]:
        with self._own_store():
            return worker._timed(self._run, steps)

    def bound(self) -> float:
        return worker._judged(self._run, self._job)["bound"]

    def finish(self) -> float:
        return worker._peak_mib()


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch, by_graph: None) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda it, mode: real(it, backend="eager"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(race, "WorkerProcess", Here)
    monkeypatch.setattr(time_to_bound, "WorkerProcess", Here)
    monkeypatch.setattr(worker, "WARM_UP", 1)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)  # a fit changes their number


def lines_of(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def rows_of(table: Path) -> list[dict[str, str]]:
    """The lines of a CSV that are not bars."""
    return [line for line in lines_of(table) if not line.get("bar")]
