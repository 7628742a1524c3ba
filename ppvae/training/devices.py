"""Device, precision and processes, by Lightning Fabric."""

import sys
from typing import TYPE_CHECKING

import torch

from ppvae.errors import InputError
from ppvae.settings import Device, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["launch", "one_device"]


def launch(
    device: Device, devices: int, precision: Precision, *, oversubscribe: bool = False
) -> "Fabric":
    """Start as many processes as there are to be, each on its device.

    Args:
        device: the kind of device.
        devices: number of processes.
        precision: of networks and densities; mixed precision is `ppvae.networks.mixed_precision`'s.
        oversubscribe: whether there may be more processes than cores.

    Raises:
        InputError: for a device that is not there, more processes than there is room for, or a
            device that cannot compute in that precision.
    """
    _check_device(device)
    if precision == "64" and (
        device == "mps" or (device == "auto" and torch.backends.mps.is_available())
    ):
        raise InputError("`precision='64'`: Metal has no float64; take `device='cpu'`")
    if devices > 1:
        _check_no_session(devices)
        _check_room(one_device(device).type, devices, oversubscribe=oversubscribe)

    from lightning_fabric import Fabric  # late: it takes seconds to import

    from ppvae.training.launcher import TiedDDP

    # The precision is a word out of a table, where Fabric's signature wants a literal.
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        strategy=TiedDDP() if devices > 1 else "auto",
        precision={"32": "32-true", "64": "64-true", "bf16-mixed": "bf16-mixed"}[precision],  # type: ignore[arg-type]  # see above
    )
    fabric.launch()
    # Equal runs give equal weights: the fastest algorithm is not chosen by timing it.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return fabric


def one_device(device: Device) -> torch.device:
    """The device by name, for work of one process; ``auto`` takes an accelerator if there is one.

    Raises:
        InputError: for a device that is not there.
    """
    _check_device(device)
    if device != "auto":
        return torch.device(device)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def _check_no_session(devices: int) -> None:
    """Refuse several processes in an interactive session, of which they could not start anew."""
    if hasattr(sys, "ps1"):
        raise InputError(
            f"`devices` is {devices}, and this is an interactive session, of which each process "
            f"would have to start anew; take `devices=1` here, or python -m ppvae.fit --devices "
            f"{devices} in a terminal"
        )


def _check_room(kind: str, devices: int, *, oversubscribe: bool) -> None:
    """Refuse more processes than a kind of device has room for."""
    if kind != "cpu":
        count = torch.accelerator.device_count()
        if devices > count:
            raise InputError(f"`devices` is {devices}, and there are {count}; ask for no more")
        return
    from joblib import cpu_count  # it knows of affinity, and of a container's quota

    cores = cpu_count()
    if devices > cores and not oversubscribe:
        raise InputError(
            f"`devices` is {devices}, and this process may use {cores} cores; ask for no more, or "
            "give `oversubscribe=True`"
        )


def _check_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "`device='cuda'`: torch finds no CUDA device here; take `device='auto'` or cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "`device='mps'`: torch finds no Metal device here; take `device='auto'` or cpu"
        )
