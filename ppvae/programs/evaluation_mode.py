"""Programs in evaluation: no gradients, no dropout, no running means that move."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ppvae.networks.evaluation_mode import evaluation_mode

__all__ = ["evaluating"]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate a pair or a bound: without gradients, in evaluation mode; as before afterwards."""
    with evaluation_mode(module), torch.no_grad():
        yield
