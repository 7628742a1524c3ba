"""Every likelihood with arguments to test, and outputs of a decoder."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.grid import Grid
from ppvae.models import Likelihood, likelihoods
from tests.support.columns import likelihood_of
from tests.support.slow import few

ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "Binomial": ({}, {"total_count": 1}, {"total_count": 40}, {"total_count": 255}),
    "Categorical": ({}, {"classes": 3}),
    "ContinuousBernoulli": ({}, {"limit": 3.0}),
    "DiscretizedLogistic": ({}, {"levels": 2}, {"levels": 5}),
    "Gaussian": tuple(
        {"variance": v} for v in (0.25, "learned", "per-element", "optimal", "per-pixel")
    ),
    "Laplace": ({"scale": 0.5}, {"scale": "learned"}, {"scale": "per-element"}),
    "MixtureOfDiscretizedLogistics": ({}, {"components": 2, "levels": 6}),
    "NegativeBinomial": ({}, {"dispersion": "gene-cell"}),
    "PerColumn": ({}, {"families": {"0": "StudentT", "1": "ZeroInflated"}}),
    "StudentT": (
        {}, {"df": "learned", "scale": "learned"}, {"df": 1e6, "scale": 0.5},
        {"df": "per-element", "scale": "per-element"},
    ),
    "ZeroInflated": ({}, {"counts": "Poisson"}),
}  # fmt: skip
"""Arguments to test; other likelihoods are tested without arguments."""

NAMES = [name for name in likelihoods.__all__ if name != "Likelihood"]
CASES = [(name, own) for name in NAMES for own in ARGUMENTS.get(name, ({},))]
IDS = [f"{n} {a or ''}" for n, a in CASES]
every = pytest.mark.parametrize(("name", "own"), CASES, ids=IDS)
every_second = pytest.mark.parametrize(("name", "own"), few(CASES, 2), ids=IDS)


def made(name: str, own: dict[str, Any], shape: tuple[int, ...] = (2, 3)) -> Likelihood:
    """A likelihood in double precision and evaluation mode, with changed parameters."""
    likelihood = likelihood_of(name, shape, **own).double().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in likelihood.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return likelihood


def decoded(likelihood: Likelihood, *lead: int, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (*lead, *likelihood.decoder_shape)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


def drawn(likelihood: Likelihood, h: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    x: Tensor = likelihood(h).sample()
    return x


def measure(support: constraints.Constraint, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Points that cover a support, and their weights in a sum or an integral: ``(points, ...)``.

    Args:
        support: of one element, or of the columns of a vector.
        centre: where the density of a real number may have a kink, of any shape.
    """
    if isinstance(support, constraints.cat):
        pairs = zip(support.cseq, centre.split(support.lengths, -1), strict=True)
        parts = [measure(own, middle) for own, middle in pairs]
        most = max(len(weight) for _, weight in parts)
        # Padding by the last point, without weight.
        every = [at.expand_as(w)[torch.arange(most).clamp(max=len(w) - 1)] for at, w in parts]
        shares = [torch.cat([w, w.new_zeros(most - len(w), *w.shape[1:])]) for _, w in parts]
        return torch.cat(every, -1), torch.cat(shares, -1)
    node, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(300))
    unit, share = (node + 1) / 2, weight / 2
    if isinstance(support, Grid):
        points = torch.arange(support.levels, dtype=torch.float64) / (support.levels - 1)
    elif support is constraints.boolean:
        points = torch.tensor([0.0, 1.0], dtype=torch.float64)
    elif isinstance(support, constraints.integer_interval):
        points = torch.arange(support.upper_bound + 1, dtype=torch.float64)
    elif support.is_discrete:
        points = torch.arange(4000, dtype=torch.float64)
    elif support is constraints.unit_interval:
        points = unit
    else:
        assert support is constraints.real
        half = unit / (1 - unit)
        points = torch.cat([-half, half])
        share = (share / (1 - unit).square()).repeat(2)
    shape = (-1, *(1,) * centre.dim())
    weights = torch.ones_like(points) if support.is_discrete else share
    start = centre if support is constraints.real else torch.zeros_like(centre)
    return points.reshape(shape) + start, weights.reshape(shape).expand(-1, *centre.shape)


@cache
def digits() -> Tensor:
    """Scikit-learn's digits, in a random order: ``(1797, 64)`` counts out of 16."""
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().data).float()
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
