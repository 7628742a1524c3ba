"""Scales of posteriors stay finite; a point mass has none."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from ppvae.guides import Delta, MeanField
from ppvae.networks import MLP


def posterior(guide: nn.Module, x: Tensor) -> Any:
    trace: Any = poutine.trace(guide).get_trace(x)
    return trace.nodes["z"]["fn"].base_dist


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_guides_scale_is_bounded_and_finite_for_any_input(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    guide = MeanField(2, (3,), partial(MLP, hidden=())).to(dtype)
    for size in (0.0, 1.0, 1e6, -1e6):
        fn = posterior(guide, torch.full((4, 3), size, dtype=dtype))
        assert fn.scale.dtype == dtype
        assert bool(
            ((fn.scale >= math.exp(-10) * 0.999) & (fn.scale <= math.exp(10) * 1.001)).all()
        )
        score = fn.log_prob(fn.rsample()).sum()
        grads = torch.autograd.grad(score, list(guide.parameters()))
        assert all(bool(g.isfinite().all()) for g in grads)


def test_the_guides_scale_is_exp_below_one_and_grows_in_proportion_above() -> None:
    guide = MeanField(1, (1,), partial(MLP, hidden=())).double()
    (layer,) = [m for m in guide.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0], [1.0]]))
        layer.bias.copy_(torch.tensor([3.0, 0.0]))
    x = torch.linspace(-1.7, 1.7, 9, dtype=torch.float64)[:, None]
    fn = posterior(guide, x)
    torch.testing.assert_close(fn.loc, 2 * x + 3)
    low, high = x <= 0, x >= 0
    torch.testing.assert_close(fn.scale[low].log(), x[low], rtol=1e-2, atol=0)
    proportional = x[high] + (1 + x[high].square()).sqrt()
    torch.testing.assert_close(fn.scale[high], proportional, rtol=1e-2, atol=0)


def test_a_point_mass_is_where_the_encoder_says() -> None:
    guide = Delta(2, (3,))
    x = torch.randn(5, 3)
    torch.testing.assert_close(guide(x), guide.encoder(x))
