"""Description of the machine that the figures are from."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from .contenders import Contender

__all__ = ["load", "machine", "versions"]


def load() -> float:
    """Number of cores that are busy now; figures of a busy machine are unreliable."""
    return float(psutil.cpu_percent(interval=0.5)) / 100 * (os.cpu_count() or 1)


def machine(device: str = "cpu", threads: Iterable[int] = ()) -> str:
    """Processor, cores, torch's threads in the workers, and the accelerator of a CUDA run."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    if threads := set(threads):
        parts.append(f"{'/'.join(map(str, sorted(threads)))} threads")
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        parts.append(subprocess.run(query, capture_output=True, text=True, check=True).stdout)
    return ", ".join(part.strip() for part in parts)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*libraries: str) -> dict[str, str]:
    """Versions of Python and of libraries in this environment."""
    found = {library: Contender.version(library) for library in libraries}
    return {"python": sys.version.split()[0]} | found
