"""One normal latent with a closed-form evidence, and its posterior as a guide."""

import math
from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.bounds import ImportanceWeightedELBO

ROWS, COLUMNS, VARIANCE = 5, 3, 0.5
SIGMAS = 5.0  # a probability of 1e-5 of a false alarm; seeds are fixed

Program = Callable[..., Any]


def rows(n: int = ROWS) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 1.5 * torch.randn(n, COLUMNS, generator=generator, dtype=torch.float64) + 0.5


class Linear(nn.Module):
    """p(z) = N(0, 1), p(x | z) = N(w z + b, c I); q(z | x) = N(v x + a, s^2), with its own s.

    At first q is the posterior.
    """

    def __init__(self, size: int | None = None, taken: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.w = nn.Parameter(torch.randn(COLUMNS, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(COLUMNS, dtype=torch.float64))
        w, b = self.w.detach(), self.b.detach()
        variance = 1 / (1 + w @ w / VARIANCE)
        self.v = nn.Parameter(variance * w / VARIANCE)
        self.a = nn.Parameter(-variance * (w @ b) / VARIANCE)
        self.log_s = nn.Parameter(0.5 * variance.log())
        self.size, self.taken = size, taken

    def blurred(self) -> "Linear":
        """A guide wider than the posterior and shifted, so that its weights vary."""
        with torch.no_grad():
            self.a.add_(0.4)
            self.log_s.add_(math.log(1.4))
        return self

    def plate(self, x: Tensor, subsample: Tensor | None) -> Any:
        return pyro.plate("data", self.size or len(x), self.taken, subsample, dim=-1)

    def model(self, x: Tensor, subsample: Tensor | None = None) -> None:
        pyro.module("linear", self)
        with self.plate(x, subsample) as i:
            z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
            loc = z[..., None] * self.w + self.b
            pyro.sample("x", dist.Normal(loc, math.sqrt(VARIANCE)).to_event(1), obs=x[i])

    def guide(self, x: Tensor, subsample: Tensor | None = None) -> None:
        pyro.module("linear", self)
        with self.plate(x, subsample) as i:
            pyro.sample("z", dist.Normal(x[i] @ self.v + self.a, self.log_s.exp()))

    def evidence(self, x: Tensor) -> Tensor:
        """Log p(x) of each row."""
        w = self.w.detach()
        covariance = torch.outer(w, w) + VARIANCE * torch.eye(COLUMNS).to(w)
        return cast("Tensor", dist.MultivariateNormal(self.b.detach(), covariance).log_prob(x))


def ours(k: int, vectorize: bool = True, **kwargs: Any) -> Any:
    return cast("Any", ImportanceWeightedELBO)(
        num_particles=k, vectorize_particles=vectorize, **kwargs
    )


def discrete(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(torch.full((), 0.5).to(x)))
        pyro.sample("x", dist.Normal(z[..., None], torch.ones_like(x[0])).to_event(1), obs=x)


def discrete_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(x.sum(-1).sigmoid()))


def planar_pair() -> tuple[Program, Program]:
    """A standard normal latent, and a guide by a flow that has no inverse."""
    flow = dist.transforms.Planar(2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x[:, 0].float())

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            base = dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    return model, guide
