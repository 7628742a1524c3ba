"""Mixed precision: networks in bfloat16, latents and densities in float32.

Autocast over a whole bound leaves z and the log-densities in bfloat16, which costs a tenth of a nat
of noise and a bias. Autocast is therefore off around the bound and on around each network in it,
whose output is converted to float32 before a distribution gets it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn


def networks_of(program: nn.Module) -> list[nn.Module]:
    """The largest modules inside ``program`` that sample nothing, each once.

    Neither the program itself nor any `PyroModule`, whose attributes may be sites, is one.
    """
    networks: dict[int, nn.Module] = {}
    for child in program.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)) or any(
            isinstance(module, PyroModule) for module in child.modules()
        ):
            networks |= {id(network): network for network in networks_of(child)}
        else:
            networks[id(child)] = child
    return list(networks.values())


class MixedNetworks:
    """Hooks that run the networks of programs, and nothing else, under autocast when it is on."""

    def __init__(self, *programs: nn.Module) -> None:
        self._device: str | None = None
        self._open: list[torch.autocast] = []
        networks = {id(n): n for program in programs for n in networks_of(program)}
        for network in networks.values():
            network.register_forward_pre_hook(self._enter)
            network.register_forward_hook(self._leave, always_call=True)

    @contextmanager
    def only(self, device: str) -> Iterator[None]:
        """Confine autocast, if on for ``device``, to the networks in this context."""
        if not torch.is_autocast_enabled(device):
            yield
            return
        self._device = device
        try:
            with torch.autocast(device, enabled=False):
                yield
        finally:
            self._device = None

    def _enter(self, _module: nn.Module, _args: tuple[Any, ...]) -> None:
        if self._device is not None:
            self._open.append(torch.autocast(self._device, dtype=torch.bfloat16))
            self._open[-1].__enter__()

    def _leave(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if self._device is None:
            return output
        self._open.pop().__exit__(None, None, None)
        return _float32(output)


def _float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (tuple, list)):
        return type(output)(_float32(part) for part in output)
    return output
