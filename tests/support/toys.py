"""Small user programs with various mistakes."""

from typing import Any, override

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.data import Data, from_arrays

__all__ = ["Guide", "Model", "rows", "toy"]


def toy(count: int = 90) -> NDArray[np.float32]:
    """Data of a linear Gaussian with 2 latents, in rows of 4 numbers."""
    g = torch.Generator().manual_seed(0)
    basis, z = torch.randn(2, 4, generator=g), torch.randn(count, 2, generator=g)
    made: NDArray[np.float32] = (z @ basis + 0.5 * torch.randn(count, 4, generator=g)).numpy()
    return made


def rows(count: int = 90) -> Data:
    """`toy` as data of a fit: 72 of 90 rows train, in 2 batches of 32 and one of 8."""
    return from_arrays(toy(count))


class Model(PyroModule):
    """p(z) = N(0, I), p(x | z) = N(W z + b, 1/4)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 4)

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.5).to_event(1), obs=x)


class Guide(PyroModule):
    """q(z | x), linear and diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = nn.Linear(4, 4)

    def posterior(self, x: Tensor) -> Any:
        """The distribution of z."""
        loc, log_scale = self.net(x).split(2, -1)
        return dist.Normal(loc, log_scale.exp()).to_event(1)

    @override
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))
