"""Device and precision by name."""

import warnings
from typing import Literal

import torch

from ppvae.errors import FitWarning, InputError
from ppvae.settings import Device, Precision


def one_device(device: Device) -> torch.device:
    """The device by name, for one process; ``auto`` uses an accelerator if there is one.

    Raises:
        InputError: for a device that is not available.
    """
    _check_device(device)
    if device != "auto":
        return torch.device(device)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def fabric_precision(
    asked: Precision, device: torch.device
) -> Literal["32-true", "64-true", "bf16-mixed"]:
    """The precision as named by Lightning Fabric; ``auto`` depends on the device.

    Warns about bfloat16 on a processor without instructions for it.

    Raises:
        InputError: for a device that cannot compute in that precision.
    """
    if asked == "64" and device.type == "mps":
        raise InputError("`precision='64'`: Metal has no float64; take `device='cpu'`")
    is_fast = _multiplies_bfloat16(device)
    if asked == "bf16-mixed" and device.type == "cpu" and is_fast is False:
        warnings.warn(
            "`precision='bf16-mixed'`: this processor has no instructions for bfloat16, which is "
            "many times slower than single precision; take `precision='auto'` or 32",
            FitWarning,
            stacklevel=2,
        )
    if asked == "auto":
        return "bf16-mixed" if is_fast else "32-true"
    return "bf16-mixed" if asked == "bf16-mixed" else "64-true" if asked == "64" else "32-true"


def _multiplies_bfloat16(device: torch.device) -> bool | None:
    """Whether a device has bfloat16 products in hardware; ``None`` if torch does not say."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return None
    has = torch.cpu.get_capabilities()
    return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def _check_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "`device='cuda'`: torch finds no CUDA device here; take `device='auto'` or cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "`device='mps'`: torch finds no Metal device here; take `device='auto'` or cpu"
        )
