"""Detection of weights and gradients that are not finite."""

import math

import pytest
import torch
from torch import Tensor

from ppvae.training.divergence import all_finite

LARGE = torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ([], True),
        ([torch.ones(2), torch.zeros(3, 2)], True),
        ([torch.ones(2), torch.tensor([1.0, math.nan])], False),
        ([torch.tensor([math.inf, -math.inf])], False),
        ([torch.tensor([math.inf]), torch.tensor([-math.inf])], False),
        ([torch.full((2,), LARGE)], True),  # their sum is not
        ([torch.ones(1, dtype=torch.float64), torch.full((2,), -LARGE)], True),
    ],
)
def test_all_finite(tensors: list[Tensor], expected: bool) -> None:
    assert all_finite(tensors) is expected
