"""A model and a guide whose mean is scaled by a factor in Python state."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from tests.support.captures import COLUMNS

__all__ = ["Guide", "Model"]


class Model(nn.Module):
    """p(x, z): the mean of x is an affine map of z, times a factor."""

    if TYPE_CHECKING:
        scales: Any
        calls: Any

    def __init__(self, factor: Callable[[Any], Any] = lambda _: 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, COLUMNS)
        self._factor = factor

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = self.net(z) * self._factor(self)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


class Guide(nn.Module):
    """q(z), which does not depend on x."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 0.5).to_event(1))
