"""Chains of linear-Gaussian latents, with the posterior as a guide, and helpers for bounds."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

SIGMAS = 5.0  # a probability of 1e-4 of a false alarm in a hundred comparisons; seeds are fixed
NOTHING = 1e-10
ROWS, COLUMNS, VARIANCE = 6, 4, 0.5

Program = Callable[..., Any]


class Sample(NamedTuple):
    mean: Tensor
    error: Tensor

    def holds(self, truth: Tensor) -> bool:
        return bool(((self.mean - truth).abs() <= SIGMAS * self.error + 1e-9).all())


def sample(draw: Callable[[], Tensor], n: int, seed: int = 0) -> Sample:
    torch.manual_seed(seed)
    values = torch.stack([draw() for _ in range(n)])
    return Sample(values.mean(0), values.std(0) / math.sqrt(n))


def gradient(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


class Part(nn.Module):
    """The model or the guide of ``owner`` as a module, for Pyro's ELBOModule."""

    def __init__(self, owner: Any, role: str) -> None:
        super().__init__()
        self.owner, self.role = owner, role

    def forward(self, x: Tensor) -> None:
        getattr(self.owner, self.role)(x)


class Latents(poutine.messenger.Messenger):
    """Scales the latents, as a warm-up does, and masks those of some rows."""

    def __init__(self, beta: Any, mask: Tensor | None = None) -> None:
        super().__init__()
        self.beta, self.mask = beta, mask

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"]:
            msg["scale"] = msg["scale"] * self.beta
            if self.mask is not None:
                msg["mask"] = self.mask


class Chain(nn.Module):
    """z_i ~ N(sum_{j<i} A_ij z_j, 1), x ~ N(W z + b, c I), with a site for each z_i.

    q(z_i | z_<i, x) = N(V_i x + a_i + sum_{j<i} K_ij z_j, s_i^2), at first the exact posterior: the
    posterior of z is N(m, S), m = G (x - b), and with S = L L', T = L^-1, it is drawn site by
    site from K_ij = -T_ij / T_ii, s_i = 1 / T_ii, V = (I - K) G, a = -(I - K) G b.
    """

    def __init__(self, latents: int, size: int | None = None, taken: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        eye = torch.eye(latents, dtype=torch.float64)
        self.A = nn.Parameter(torch.randn(latents, latents, dtype=torch.float64).tril(-1))
        self.W = nn.Parameter(torch.randn(COLUMNS, latents, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(COLUMNS, dtype=torch.float64))
        a, w, b = self.A.detach(), self.W.detach(), self.b.detach()
        covariance = torch.linalg.inv((eye - a).T @ (eye - a) + w.T @ w / VARIANCE)
        t = torch.linalg.inv(torch.linalg.cholesky(covariance))
        k = eye - t / t.diagonal()[:, None]
        gain = (eye - k) @ covariance @ w.T / VARIANCE
        self.K, self.V, self.a = nn.Parameter(k), nn.Parameter(gain), nn.Parameter(-gain @ b)
        self.log_s = nn.Parameter(-t.diagonal().log())
        self.size, self.taken = size, taken

    def moved(self) -> "Chain":
        """The guide moved away from the posterior: its gradient has a mean and noise."""
        with torch.no_grad():
            self.a.add_(0.3)
            self.log_s.add_(0.3)
            self.K.mul_(0.7)
        return self

    def evidence(self, x: Tensor) -> Tensor:
        """Log p(x) of each row."""
        w = self.W @ torch.linalg.inv(torch.eye(len(self.A)).to(self.A) - self.A)
        covariance = w @ w.T + VARIANCE * torch.eye(COLUMNS).to(w)
        return cast("Tensor", dist.MultivariateNormal(self.b, covariance).log_prob(x)).detach()

    @property
    def of_guide(self) -> list[nn.Parameter]:
        return [self.K, self.V, self.a, self.log_s]

    @property
    def of_model(self) -> list[nn.Parameter]:
        return [self.A, self.W, self.b]

    def sites(self, loc: Callable[[int, list[Tensor]], Tensor], scale: Tensor) -> Tensor:
        z: list[Tensor] = []
        for i in range(len(self.log_s)):
            z.append(pyro.sample(f"z{i}", dist.Normal(loc(i, z), scale[i])))
        return torch.stack(z, -1)

    def model(self, x: Tensor) -> None:
        pyro.module("chain", self)
        with pyro.plate("data", self.size or len(x), self.taken, dim=-1) as rows:

            def loc(i: int, z: list[Tensor]) -> Tensor:
                return sum((self.A[i, j] * z[j] for j in range(i)), torch.zeros_like(x[rows, 0]))

            z = self.sites(loc, torch.ones_like(self.log_s))
            likelihood = dist.Normal(z @ self.W.T + self.b, math.sqrt(VARIANCE)).to_event(1)
            pyro.sample("x", likelihood, obs=x[rows])

    def guide(self, x: Tensor) -> None:
        pyro.module("chain", self)
        with pyro.plate("data", self.size or len(x), self.taken, dim=-1) as rows:

            def loc(i: int, z: list[Tensor]) -> Tensor:
                return sum((self.K[i, j] * z[j] for j in range(i)), x[rows] @ self.V[i] + self.a[i])

            self.sites(loc, self.log_s.exp())


def rows(n: int = ROWS) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 1.5 * torch.randn(n, COLUMNS, generator=generator, dtype=torch.float64) + 0.5


def loss_of(elbo: Any, model: Program, guide: Program, x: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return cast("Tensor", elbo.differentiable_loss(model, guide, x))


def slopes(
    elbo: Any, chain: Chain, parameters: list[nn.Parameter], seed: int, x: Tensor | None = None
) -> Tensor:
    x = rows() if x is None else x
    return gradient(loss_of(elbo, chain.model, chain.guide, x, seed), parameters)
