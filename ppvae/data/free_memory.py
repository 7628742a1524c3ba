"""The free memory for this process."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch


def free_memory(device: torch.device | str = "cpu") -> int:
    """Bytes that this process may still allocate, by the machine and by its control group."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([int(psutil.virtual_memory().available), *_free_in_groups()])


def _free_in_groups() -> Iterator[int]:
    """Free bytes in the control groups of a container, if there are any."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, now = (Path("/sys/fs/cgroup", name).read_text().strip() for name in (limit, used))
        except OSError:
            continue
        if most.isdecimal() and now.isdecimal():
            yield max(0, int(most) - int(now))
