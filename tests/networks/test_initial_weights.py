"""Initial weights: a signal keeps its size through the layers."""

import math
from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest
import torch
from torch import nn

from ppvae.networks import (
    MLP,
    GatedMLP,
)
from ppvae.networks.initial_weights import gain
from ppvae.networks.layers import Activation


@pytest.mark.parametrize(
    "network", [*(partial(MLP, activation=name) for name in get_args(Activation)), GatedMLP]
)
def test_a_signal_keeps_its_size_through_the_layers_and_the_seed_decides_them(
    network: Callable[..., nn.Module],
) -> None:
    """Twelve layers of width 200, where only the biases would be left with torch's weights."""
    x = torch.randn(500, 200, generator=torch.Generator().manual_seed(1))

    def deep(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return network((200,), (200,), hidden=(200,) * 12)

    one = deep(0)
    affine = [layer for layer in one.modules() if isinstance(layer, nn.Linear)]
    assert not any(bool(layer.bias.any()) for layer in affine)
    with torch.no_grad():
        assert 0.3 < float(one(x).std()) < 3
    assert torch.equal(one(x), deep(0)(x))
    assert not torch.equal(one(x), deep(1)(x))


def test_a_gain_undoes_what_a_nonlinearity_takes_away() -> None:
    assert gain(nn.ReLU()) == pytest.approx(math.sqrt(2), abs=0.01)
    e = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(1)).double()
    for layer, x in ((nn.SiLU(), e[0]), (nn.Tanh(), e[0]), (nn.GLU(0), e.flatten())):
        assert float(layer(x).square().mean()) == pytest.approx(gain(layer) ** -2, rel=0.02)
