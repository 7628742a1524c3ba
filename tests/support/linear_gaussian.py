"""Linear Gaussian models with data, missing entries and exact results."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ppvae.models import LinearGaussian

ROWS, COLUMNS = 7, 5
SIGMAS = 5.0
Array = NDArray[np.float64]


def random_model(
    latent_dim: int = 2, shape: Sequence[int] = (COLUMNS,), noise: Any = 0.5, seed: int = 0
) -> LinearGaussian:
    """A model in float64 without zero weights."""
    torch.manual_seed(seed)
    model = LinearGaussian(latent_dim, tuple(shape), noise).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def data(rows: int = ROWS, shape: Sequence[int] = (COLUMNS,), seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(rows, *shape, generator=generator, dtype=torch.float64)


def some(shape: Sequence[int], seed: int = 2) -> Tensor:
    """Where x was observed: nowhere in the first row, everywhere in the second."""
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[0], mask[1] = False, True
    return mask


def spread(columns: int = COLUMNS, rows: int = 60, seed: int = 3) -> Tensor:
    """Data whose principal components have variances far apart."""
    generator = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator).double())
    scales = torch.logspace(0.5, -0.5, columns, dtype=torch.float64)
    x: Tensor = torch.randn(rows, columns, generator=generator).double() * scales @ axes.T + 1.0
    return x


def numbers(model: LinearGaussian) -> tuple[Array, Array, Array]:
    """W, mu, and W W' + s^2 I."""
    w, mu = model.weight.detach().numpy(), model.loc.detach().flatten().numpy()
    return w, mu, w @ w.T + float(model.noise().detach()) ** 2 * np.eye(len(w))


def conditional(model: LinearGaussian, x: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean and covariance of z given the observed elements of x, from the joint normal."""
    w, mu, covariance = numbers(model)
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], w[seen]).T
    return gain @ (x - mu)[seen], np.eye(w.shape[1]) - gain @ w[seen]


def most(x: Tensor, latent_dim: int) -> float:
    """L* = -1/2 [D ln 2pi + sum_{i <= k} ln l_i + (D - k) ln s^2 + D], of the covariance of x."""
    rest, kept = np.split(np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True)), [-latent_dim])
    d = x.shape[1]
    logs = np.log(kept).sum() + (len(rest) * np.log(rest.mean()) if len(rest) else 0.0)
    return float(-0.5 * (d * math.log(2 * math.pi) + logs + d))


def climb(mean: Callable[[], Tensor], weights: Sequence[nn.Parameter], steps: int) -> list[float]:
    """The values during a search for the largest ``mean``, the result last."""
    optimizer = torch.optim.LBFGS(
        list(weights), max_iter=steps, history_size=50, tolerance_grad=1e-12,
        tolerance_change=1e-15, line_search_fn="strong_wolfe",
    )  # fmt: skip
    seen = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -mean()
        loss.backward()
        seen.append(-float(loss.detach()))
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        seen.append(float(mean()))
    return seen
