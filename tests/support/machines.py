"""Fits in several processes, as started by ``torchrun`` on one machine or on two simulated ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

RUN = (sys.executable, "-m", "torch.distributed.run")


def environment(**more: str) -> dict[str, str]:
    """The environment of a process: one thread, and this package on the path."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


class Launched:
    """Processes that ``torchrun`` starts on this machine; they end with the context.

    Args:
        words: what they run, ``-m MODULE ...`` or a script with its arguments.
        processes: number of processes.
        restarts: largest number of restarts.
        variables: environment variables.
    """

    def __init__(
        self,
        *words: str,
        processes: int = 2,
        restarts: int = 0,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.agent = subprocess.Popen(
            [
                *RUN, "--standalone", f"--nproc-per-node={processes}",
                f"--max-restarts={restarts}", *words,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
            env=environment(**(variables or {})),
        )  # fmt: skip

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *_: object) -> None:
        if self.agent.poll() is None:
            self.agent.terminate()  # ends the ranks too
        self.agent.communicate()

    def ranks(self) -> dict[int, int]:
        """Process ids of the running ranks."""
        children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text()
        found = {}
        for pid in map(int, children.split()):
            for word in _environment(pid):
                if word.startswith(b"RANK="):
                    found[int(word[5:])] = pid
        return found

    def kill(self, rank: int) -> int:
        """Kill a rank, and return its process id."""
        pid = self.ranks()[rank]
        os.kill(pid, signal.SIGKILL)
        return pid

    def ended(self, within: float) -> tuple[int, list[str]]:
        """Wait for the end of all ranks; return the exit code and their errors."""
        _, said = self.agent.communicate(timeout=within)
        assert "Traceback" not in said.split("elastic/multiprocessing")[0]
        return self.agent.returncode, [x for x in said.splitlines() if x.startswith("error: ")]


def _environment(pid: int) -> Sequence[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return ()


def wait_for(there: Callable[[], bool], within: float = 200.0) -> None:
    """Wait until a condition is true."""
    until = time.monotonic() + within
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)
