"""Temporary use of weights, and copies of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ppvae.networks.evaluation_mode import modes_restored
from ppvae.programs import Pair


@contextmanager
def weights_restored(pair: Pair) -> Iterator[Pair]:
    """Restore weights, device, modes and gradients of a pair at the end."""
    before = copied(pair.state_dict())
    device = next(pair.parameters()).device
    with modes_restored(pair):
        try:
            yield pair
        finally:
            pair.to(device).load_state_dict(before)
            pair.zero_grad()


def copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the values in new tensors."""
    return {k: v.detach().clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
