"""What the figures were taken on."""

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .race import Result

__all__ = ["machine", "versions"]

_LOAD = os.getloadavg()[0]  # before this process adds to it: a busy machine tells nothing


def machine(device: str, results: Iterable[Result] = ()) -> str:
    """Processor, cores and load, torch's threads as workers had them, the accelerator if it ran."""
    threads = {result.threads for result in results if result.threads is not None}
    parts = [_processor(), f"{os.cpu_count()} cores", f"load {_LOAD:.1f} at the start"]
    if threads:
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


def versions(results: Iterable[Result]) -> str:
    """Every library that took part, once."""
    found: dict[str, str] = {}
    for result in results:
        found |= result.versions
    return ", ".join(f"{library} {number}" for library, number in found.items())
