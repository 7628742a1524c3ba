"""Counted operations are those of the products, in any mode."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from ppvae.compilation.operations import Operations


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_product_is_two_operations_a_multiplication(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
    pseudo_inputs = nn.Parameter(torch.zeros(7, 3))
    with mode(), Operations() as operations:
        network(pseudo_inputs)
        torch.zeros(2, 3).to(torch.float64).sum()
    assert operations.count == 2 * 7 * (3 * 5 + 5 * 4)


def test_a_convolution_counts_its_kernel_at_each_place() -> None:
    with torch.inference_mode(), Operations() as operations:
        nn.Conv2d(2, 4, 3, padding=1)(torch.zeros(5, 2, 8, 8))
    assert operations.count == 2 * 5 * 4 * 8 * 8 * 2 * 3 * 3
