"""Weights and random state, lent and given back as they were."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ppvae.programs import Pair


@contextmanager
def randomness_restored() -> Iterator[None]:
    """Leave the generators of Python, NumPy and torch, on every device, as they were."""
    from pyro.util import get_rng_state, set_rng_state

    before = get_rng_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        set_rng_state(before)


@contextmanager
def weights_restored(pair: Pair) -> Iterator[Pair]:
    """Lend a pair, and give its modules their weights, device and gradients back."""
    before = copied(pair.state_dict())
    device = next(pair.parameters()).device
    training = [(part, part.training) for part in pair.modules()]
    try:
        yield pair
    finally:
        pair.to(device).load_state_dict(before)
        pair.zero_grad()
        for part, mode in training:
            part.training = mode


def copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same values in tensors of their own."""
    return {k: v.detach().clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}


def random_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The state of the CPU's generator, and of the device's where it is a GPU."""
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_device


def set_random_state(device: torch.device, state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Go on from what `random_state` returned."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
