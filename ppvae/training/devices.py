"""The device of a command, by name."""

import torch

from ppvae.errors import InputError
from ppvae.settings import Device


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


def _check_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "`device='cuda'`: torch finds no CUDA device here; take `device='auto'` or cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "`device='mps'`: torch finds no Metal device here; take `device='auto'` or cpu"
        )
