"""A batch of distributions as one mixture."""

import math
from typing import Any, cast

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ppvae.distributions.batch_mixture import BatchMixture
from tests.support.means import is_mean


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor."""

    def __init__(self) -> None:
        cast("Any", super()).__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        self.numel = max(self.numel, out.numel() if isinstance(out, Tensor) else 0)
        return out


def test_normals_in_a_batch_are_weighed_by_matrix_products_that_lose_no_digits() -> None:
    torch.manual_seed(0)
    values, components, dims = 30, 20, 10
    loc, scale = 1000 + torch.randn(components, dims), 1e-2 + 1e-2 * torch.rand(components, dims)
    logits = torch.randn(components)
    fn = BatchMixture(dist.Normal(loc, scale).to_event(1), logits)
    z = fn.sample((values,))
    with Largest() as largest:
        log_prob = fn.log_prob(z)
    assert largest.numel == values * components
    exact = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits.double()),
        torch.distributions.Independent(
            torch.distributions.Normal(loc.double(), scale.double()), 1
        ),
    )
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob.double(), exact.log_prob(z.double()), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("correlated", [False, True])
def test_each_component_is_drawn_as_often_as_it_weighs_and_as_it_is(correlated: bool) -> None:
    loc = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    scale, logits = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, -math.inf, 1.0, 2.0])
    components: Any = dist.Normal(loc, scale[:, None]).to_event(1)
    if correlated:
        factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]]) * scale[:, None, None]
        components = dist.MultivariateNormal(loc, scale_tril=factor)
    torch.manual_seed(0)
    draws = BatchMixture(components, logits).sample((200, 100))
    assert draws.shape == (200, 100, 2)
    nearest = torch.cdist(draws.reshape(-1, 2), loc).argmin(1)
    shares = torch.nn.functional.one_hot(nearest, 4).float()
    assert int(shares[:, 1].sum()) == 0
    assert is_mean(shares, logits.softmax(0))
    # Successive draws are independent.
    first, then = shares[:-1, 0], shares[1:, 0]
    assert is_mean(first * then, logits.softmax(0)[0] ** 2)
    for k in (0, 2, 3):
        off = (draws.reshape(-1, 2)[nearest == k] - loc[k]) / scale[k]
        assert len(off.unique(dim=0)) == len(off)
        assert is_mean(off, torch.zeros(2))
        assert is_mean(off.square(), torch.ones(2))
        assert is_mean(off.prod(-1), torch.tensor(0.8 if correlated else 0.0))
