"""The random state of a fit's processes: kept in a checkpoint, and gone on with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["gather", "restore"]


def gather(fabric: "Fabric") -> list[dict[str, Tensor | None]]:
    """The random state of each process; collective, so every process must call it."""
    cpu, device = torch.get_rng_state(), fabric.device
    on_device = None
    if device.type == "cuda":
        on_device = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        on_device = torch.mps.get_rng_state()
    if fabric.world_size == 1:
        return [{"cpu": cpu, "device": on_device}]
    all_cpu = cast("Tensor", fabric.all_gather(cpu.to(device))).cpu()
    all_device = (
        None if on_device is None else cast("Tensor", fabric.all_gather(on_device.to(device))).cpu()
    )
    return [
        {
            "cpu": all_cpu[r].clone(),
            "device": None if all_device is None else all_device[r].clone(),
        }
        for r in range(fabric.world_size)
    ]


def restore(fabric: "Fabric", states: Sequence[Mapping[str, Any]]) -> None:
    """Set this process's state, of those that `gather` gave; a process beyond has the last."""
    own, device = states[min(fabric.global_rank, len(states) - 1)], fabric.device
    torch.set_rng_state(own["cpu"])
    if own["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(own["device"], device)
    elif own["device"] is not None and device.type == "mps":
        torch.mps.set_rng_state(own["device"])
