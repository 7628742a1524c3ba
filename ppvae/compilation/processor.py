"""The processor that this process runs on."""

import functools
from pathlib import Path
from typing import Any

import torch


@functools.cache
def is_of_intel() -> bool:
    """Whether it is Intel's, for which MKL is the quicker library."""
    return "Intel" in _capabilities().get("cpu_name", "")


@functools.cache
def instructions() -> str:
    """Its instructions: native code that has them may not run on another."""
    flags: list[str] = []
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    return repr((torch.backends.cpu.get_cpu_capability(), _capabilities(), flags))


def _capabilities() -> dict[str, Any]:
    """What torch knows of it, by name; nothing in versions of torch that do not say."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return known
