"""Every network in each direction that it serves, with data of several shapes."""

import math
from functools import partial
from itertools import product
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.compilation import capture
from ppvae.components.kinds import KINDS
from ppvae.errors import InputError
from ppvae.networks import (
    Network,
    Shape,
)

SHAPES: list[Shape] = [(1, 28, 28), (3, 7, 9), (2, 1, 1), (1, 8, 5), (3, 33, 17)]
NETWORKS: dict[str, Network] = KINDS["encoder"].names()


def ends(direction: str, shape: Shape) -> tuple[Shape, Shape]:
    """Input and output shapes for encoding or decoding images of ``shape``."""
    return (shape, (2, 5)) if direction == "encoder" else ((5,), (2, *shape))


def serves(name: str, direction: str) -> bool:
    try:
        NETWORKS[name](*ends(direction, (1, 4, 4)))
    except InputError:
        return False
    return True


# Every exported network is tested.
CASES = [case for case in product(NETWORKS, ("encoder", "decoder")) if serves(*case)]
every_network = pytest.mark.parametrize(("name", "direction"), CASES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def made(name: str, direction: str, shape: Shape, seed: int = 0) -> nn.Module:
    """The network with random weights, since initial zeros would hide effects."""
    torch.manual_seed(seed)
    network = NETWORKS[name](*ends(direction, shape)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5 / math.sqrt(parameter[0].numel()))
    return network


def inputs(direction: str, shape: Shape, *lead: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    size = (*lead, *ends(direction, shape)[0])
    return torch.randn(size, generator=generator, dtype=torch.float64)


def assert_captured(
    model: nn.Module, guide: nn.Module, x: Tensor, *, compile: bool = False, **extras: Any
) -> None:
    """Assert the law: captured and eager agree under the same noise, up to rounding."""
    loss = capture(model, guide, Trace_ELBO(), x, compile=compile, **extras)
    parameters = [*model.parameters(), *guide.parameters()]
    results = []
    for of in (loss, partial(Trace_ELBO().differentiable_loss, model, guide)):
        pyro.set_rng_seed(1)
        value = of(x, **extras)
        results.append([value, *torch.autograd.grad(value, parameters)])
    assert loss.reason == ""
    for captured, eager in zip(*results, strict=True):
        torch.testing.assert_close(captured, eager, rtol=2e-5, atol=2e-5)
