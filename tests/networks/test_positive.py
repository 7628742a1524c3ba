"""Scales from outputs of networks: positive, finite and increasing."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppvae.guides.scales import posterior_scale
from ppvae.networks import (
    positive,
)


def test_a_scale_is_exp_where_networks_live() -> None:
    x = torch.linspace(-1.4, 1.4, 99, dtype=torch.float64)
    torch.testing.assert_close(positive(x), x.exp(), rtol=1e-2, atol=0)
    torch.testing.assert_close(positive(x / 10), (x / 10).exp(), rtol=2e-5, atol=0)


@pytest.mark.parametrize("scale_of", [positive, posterior_scale])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_scale_is_positive_finite_and_rising_whatever_the_network_says(
    dtype: torch.dtype, scale_of: Callable[[Tensor], Tensor]
) -> None:
    extremes = [-math.inf, -1e30, -1e3, -5.0, 0.0, 5.0, 1e3, 1e30, math.inf]
    x = torch.tensor(extremes, dtype=dtype, requires_grad=True)
    scale = scale_of(x)
    (slope,) = torch.autograd.grad(scale.log().sum(), x)
    scale = scale.detach()
    assert scale.dtype == dtype
    assert float(scale.min()) == pytest.approx(math.exp(-10), rel=0.05)
    assert float(scale.max()) == pytest.approx(math.exp(10), rel=0.05)
    assert bool((scale.diff() >= 0).all())
    assert bool((scale[2:6].diff() > 0).all())
    assert bool(slope.isfinite().all())
    assert bool((slope[3:6] > 0).all())


def test_the_slope_of_a_scale_is_that_of_its_numbers() -> None:
    x = torch.linspace(-30, 30, 13, dtype=torch.float64, requires_grad=True)
    for scale_of in (positive, posterior_scale):
        assert torch.autograd.gradcheck(lambda t, f=scale_of: f(t).log(), x)


def test_a_posteriors_scale_grows_as_exp_below_one_and_in_proportion_above() -> None:
    below = torch.linspace(-1.4, 0.4, 99, dtype=torch.float64)
    torch.testing.assert_close(posterior_scale(below), below.exp(), rtol=1.1e-2, atol=0)
    above = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    want = above + (1 + above.square()).sqrt()
    torch.testing.assert_close(posterior_scale(above), want, rtol=4e-2, atol=0)
    assert float(posterior_scale(torch.tensor(6.1))) < 13  # where exp is 446
    assert float(posterior_scale(torch.tensor(30.0))) > 40  # enough for a wide prior
