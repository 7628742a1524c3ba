"""Control of a worker by its parent process."""

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

_WORDS = 80  # characters of a failure in a row


class WorkerFailed(Exception):  # noqa: N818  # a failure is a row of the table, not an error
    """Failure of a contender, with a short message."""


class WorkerProcess:
    """Process of a contender, and a context manager that ends it.

    Every method raises `WorkerFailed` if the contender fails.
    """

    def __init__(self, name: str, job: Job, folder: str) -> None:
        """Start it, with its own temporary folder below ``folder``.

        So no compiler finds code cached by another contender or an earlier run.
        """
        place = mkdtemp(dir=folder)
        command = [*python_of(CONTENDERS[name]), "-m", f"{__package__}.worker"]
        self._log = TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed on exit
        # The parent must be small: a child's peak of memory starts at that of its parent.
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
        with self._log, self._process:  # closes its input, so that it exits
            pass

    def set_up(self) -> dict[str, Any]:
        """Wait for its set-up: ``seconds``, ``versions``, ``threads``."""
        return self._answer()

    def take(self, steps: int) -> dict[str, float]:
        """Take some steps: ``seconds``, ``loss``."""
        assert self._process.stdin is not None
        print(json.dumps({"steps": steps}), file=self._process.stdin, flush=True)
        return self._answer()

    def bound(self) -> float:
        """The bound of its weights on held-out images, nats per image."""
        return self.take(0)["bound"]

    def finish(self) -> float:
        """End it, and return its peak resident memory in MiB."""
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
    """The command that starts Python with the libraries of a contender."""
    if not contender.requires:
        return [sys.executable]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise WorkerFailed("needs uv on the PATH, to install it in its own environment")
    # The same interpreter without its packages; the project's environment does not change.
    start = [uv, "run", "--no-project", "--isolated", "--python", sys.executable]
    for requirement in contender.requires:
        start += ["--with", _pinned(requirement)]
    return [*start, "python"]


def _pinned(requirement: str) -> str:
    """The requirement, in the version installed here if there is one."""
    try:
        # Without the local part after a plus (cpu, cu132), which only its own index has.
        return f"{requirement}=={version(requirement).partition('+')[0]}"
    except PackageNotFoundError:
        return requirement


def _short(text: str) -> str:
    first = text.strip().splitlines()[0]
    return first if len(first) <= _WORDS else f"{first[: _WORDS - 1]}…"
