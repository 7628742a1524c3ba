"""Where to compute: device, precision and processes, by Lightning Fabric."""

from typing import Literal

import torch
from lightning_fabric import Fabric

from ppvae.errors import InputError

__all__ = ["Device", "Precision", "launch"]

Precision = Literal["32", "64", "bf16-mixed"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def launch(device: Device, devices: int, precision: Precision) -> Fabric:
    """Start as many processes as there are to be, each on its device.

    Args:
        device: the kind of device.
        devices: number of processes.
        precision: of networks and densities; mixed precision is `ppvae.precision`'s.

    Raises:
        InputError: for a device that is not there, or cannot compute in that precision.
    """
    if devices < 1:
        raise InputError(f"devices is {devices}; it takes at least 1")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: torch finds no CUDA device here; take --device auto or cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "--device mps: torch finds no Metal device here; take --device auto or cpu"
        )
    if precision == "64" and (
        device == "mps" or (device == "auto" and torch.backends.mps.is_available())
    ):
        raise InputError("--precision 64: Metal has no float64; take --device cpu")
    accelerators = torch.cuda.device_count()
    if device in ("cuda", "auto") and 0 < accelerators < devices:
        raise InputError(f"--devices {devices}: there are {accelerators}; ask for no more")

    fabric = Fabric(
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision={"32": "32-true", "64": "64-true", "bf16-mixed": "bf16-mixed"}[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    # Equal runs give equal weights: the fastest algorithm is not chosen by timing it.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return fabric
