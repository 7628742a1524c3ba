"""The gated MLP: a product of a linear map and a gate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ppvae.networks import (
    GatedMLP,
)

# Each network computes the formula of its docstring.


def numbers(*layers: nn.Module) -> list[Any]:
    return [p.detach().numpy() for layer in layers for p in layer.parameters()]


def test_the_gated_mlp_is_a_product_of_a_linear_map_and_a_gate() -> None:
    network = GatedMLP((2, 3), (4, 2), hidden=(5, 7)).double()
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    h = x.numpy().reshape(9, 6)
    one, other, last = (m for m in network.modules() if isinstance(m, nn.Linear))
    for weight, bias in (numbers(one), numbers(other)):
        (w, v), (b, c) = np.split(weight, 2), np.split(bias, 2)
        h = (h @ w.T + b) / (1 + np.exp(-(h @ v.T + c)))
    weight, bias = numbers(last)
    want = (h @ weight.T + bias).reshape(9, 4, 2)
    np.testing.assert_allclose(network(x).detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), (7,)])
def test_a_gated_mlp_without_hidden_layers_is_affine_and_with_them_is_not(
    hidden: Sequence[int],
) -> None:
    torch.manual_seed(0)
    network = GatedMLP((3,), (2, 2), hidden).double()
    a, b = torch.randn(2, 3, dtype=torch.float64)
    gap = network(0.3 * a + 0.7 * b) - 0.3 * network(a) - 0.7 * network(b)
    assert bool(gap.abs().max() < 1e-12) is (not hidden)
