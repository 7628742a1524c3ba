"""Programs of plain Pyro: methods of one module, and functions with parameters of their own."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

COLUMNS = 3


class Tutorial(nn.Module):
    """As in Pyro's tutorial: model and guide are methods of one module."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: nn.Module = nn.Linear(COLUMNS, 1)
        self.decoder = nn.Linear(1, COLUMNS)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("latent", dist.Normal(self.encoder(x), 0.5).to_event(1))


def functions() -> tuple[Callable[[Tensor], None], Callable[[Tensor], None], nn.Linear]:
    """Plain functions: a network in the closure, a constrained parameter, and a shared one."""
    network = nn.Linear(COLUMNS, 1)

    def model(x: Tensor) -> None:
        shared = pyro.param("shared", torch.tensor(0.3))
        noise = pyro.param("noise.scale", torch.tensor(2.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(shared, 1.0))
            mean = z[..., None].expand(*z.shape, COLUMNS)
            pyro.sample("x", dist.Normal(mean, noise).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        shared = pyro.param("shared", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x).squeeze(-1) + shared, 1.0))

    return model, guide, network
