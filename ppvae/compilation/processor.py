"""The processor that this process runs on."""

import functools
from pathlib import Path
from typing import Any

import torch


@functools.cache
def is_of_intel() -> bool:
    """Whether it is from Intel, where MKL is the faster library."""
    return "Intel" in _capabilities().get("cpu_name", "")


@functools.cache
def instructions() -> str:
    """Its instructions; native code compiled for them may not run on another processor."""
    flags: list[str] = []
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    return repr((torch.backends.cpu.get_cpu_capability(), _capabilities(), flags))


def _capabilities() -> dict[str, Any]:
    """Torch's information about it, by name; empty in versions of torch without any."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return known
