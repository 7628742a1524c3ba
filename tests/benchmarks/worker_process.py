"""A worker's process as its parent sees it: started, asked, and ended."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryFile, mkdtemp
from typing import Any, Self

from .contenders import CONTENDERS, Contender
from .data import ROOT
from .job import Job

__all__ = ["WorkerFailed", "WorkerProcess", "python_of"]

_WORDS = 80  # characters of a failure that a row has room for


class WorkerFailed(Exception):  # noqa: N818  # a failure is a row of the table, not an error
    """The contender cannot go on; the message says why, in a few words."""


class WorkerProcess:
    """A contender's process; as a context, it has ended when the context has.

    Every method raises `WorkerFailed` if the contender fails.
    """

    def __init__(self, name: str, job: Job, folder: str) -> None:
        """Start it; whatever it writes goes below ``folder``, to a place of its own.

        So no compiler finds what another contender, or an earlier run, has cached.
        """
        place = mkdtemp(dir=folder)
        command = [*python_of(CONTENDERS[name]), "-m", f"{__package__}.worker"]
        self._log = TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed on exit
        # The process it comes from is to be small: its peak of memory is the child's first one.
        self._process = subprocess.Popen(
            [*command, name, json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": place, "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._log, self._process:  # its input ends, which is its order to leave
            pass

    def set_up(self) -> dict[str, Any]:
        """Wait until it can start: ``seconds``, ``versions``, ``threads``."""
        return self._answer()

    def take(self, steps: int) -> dict[str, float]:
        """Have it take some steps: ``seconds``, ``loss``."""
        assert self._process.stdin is not None
        print(json.dumps({"steps": steps}), file=self._process.stdin, flush=True)
        return self._answer()

    def bound(self) -> float:
        """Have its weights judged: the bound on held-out images, nats per image."""
        return self.take(0)["bound"]

    def finish(self) -> float:
        """Let it end, and tell its peak of resident memory, in MiB."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return float(self._answer()["peak_mib"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(_short(self._last_words()))
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise WorkerFailed(_short(answer["failed"]))
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else f"ended with status {self._process.returncode}"


def python_of(contender: Contender) -> list[str]:
    """How to start Python with what the contender requires."""
    if not contender.requires:
        return [sys.executable]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise WorkerFailed("needs uv on the PATH, to install it beside the package")
    # The same interpreter, none of its packages, and nothing of the project's environment changed.
    start = [uv, "run", "--no-project", "--isolated", "--python", sys.executable]
    for requirement in contender.requires:
        start += ["--with", _pinned(requirement)]
    return [*start, "python"]


def _pinned(requirement: str) -> str:
    """A library that the package has too is asked for in the same version."""
    try:
        # Without what follows a plus: the build (cpu, cu132) is of no index but its own.
        return f"{requirement}=={version(requirement).partition('+')[0]}"
    except PackageNotFoundError:
        return requirement


def _short(text: str) -> str:
    first = text.strip().splitlines()[0]
    return first if len(first) <= _WORDS else f"{first[: _WORDS - 1]}…"
