"""Closed-form KLs of correlated normals, compared with torch's general ones and with draws."""

import math
from functools import partial
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.distributions.kl import _KL_REGISTRY

from ppvae.bounds.audit import audit
from ppvae.distributions import divergences
from ppvae.guides import FullRank, LowRank
from ppvae.models import VAE, Gaussian, Prior, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair

D = 4


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(kind: str, library: Any, *batch: int) -> Any:
    """A correlated normal of one of the two classes, of torch's library or Pyro's."""
    loc, factor, log_scale = (
        normal(*batch, D, seed=1), normal(*batch, D, 2, seed=2), 0.5 * normal(*batch, D, seed=3),
    )  # fmt: skip
    low = library.LowRankMultivariateNormal(loc, factor, log_scale.exp())
    return low if kind == "low rank" else library.MultivariateNormal(loc, low.covariance_matrix)


def diagonal(library: Any, *batch: int) -> Any:
    loc, log_scale = normal(*batch, D, seed=4), 0.5 * normal(*batch, D, seed=5)
    return library.Independent(library.Normal(loc, log_scale.exp()), 1)


def whole(fn: Any) -> torch.distributions.MultivariateNormal:
    """The same normal, with a covariance matrix."""
    covariance = getattr(fn, "covariance_matrix", None)
    covariance = torch.diag_embed(fn.variance) if covariance is None else covariance
    return torch.distributions.MultivariateNormal(fn.mean, covariance)


@pytest.mark.parametrize("kind", ["low rank", "full rank"])
@pytest.mark.parametrize("library", [dist, torch.distributions])
@pytest.mark.parametrize(
    ("left", "right"), [((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 1), (3,))]
)
def test_they_are_torchs_general_kl_in_both_directions(
    kind: str, library: Any, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    p, q = correlated(kind, library, *left), diagonal(library, *right)
    for a, b in ((p, q), (q, p)):
        want = kl_divergence(whole(a), whole(b))
        got = kl_divergence(a, b)
        assert got.shape == torch.broadcast_shapes(left, right)
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("kind", ["low rank", "full rank"])
def test_they_are_the_mean_of_the_log_ratio(kind: str) -> None:
    p, q = correlated(kind, dist), diagonal(dist)
    torch.manual_seed(0)
    for a, b in ((p, q), (q, p)):
        z = a.sample((40_000,))
        ratio = a.log_prob(z) - b.log_prob(z)
        error = float(ratio.std()) / math.sqrt(len(ratio))
        assert abs(float(ratio.mean() - kl_divergence(a, b))) < 5 * error


@pytest.mark.parametrize("kind", ["low rank", "full rank"])
def test_expanded_by_plates_they_repeat(kind: str) -> None:
    p, q = correlated(kind, dist, 3), diagonal(dist)
    for a, b in ((p, q), (q, p)):
        wide = kl_divergence(a.expand((5, 3)), b.expand((5, 3)))
        torch.testing.assert_close(wide, kl_divergence(a, b).expand(5, 3))


def test_their_gradients_are_finite_differences() -> None:
    def low_rank(loc: Tensor, factor: Tensor, log_diag: Tensor, other: Tensor) -> Tensor:
        p = dist.LowRankMultivariateNormal(loc, factor, log_diag.exp())
        q = dist.Normal(other, (0.3 * other).exp()).to_event(1)
        return torch.stack([kl_divergence(p, q), kl_divergence(q, p)])

    def full_rank(loc: Tensor, factor: Tensor, other: Tensor) -> Tensor:
        scale_tril = factor.tril(-1) + torch.diag_embed(factor.diagonal().exp())
        p = dist.MultivariateNormal(loc, scale_tril=scale_tril)
        q = dist.Normal(other, (0.3 * other).exp()).to_event(1)
        return torch.stack([kl_divergence(p, q), kl_divergence(q, p)])

    loc, other = (normal(D, seed=s).requires_grad_() for s in (1, 2))
    factor, square = (normal(D, r, seed=3).requires_grad_() for r in (2, D))
    log_diag = normal(D, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(low_rank, (loc, factor, log_diag, other))
    assert torch.autograd.gradcheck(full_rank, (loc, square, other))


def test_no_square_matrix_is_made_of_many_dimensions() -> None:
    n = 1_000_000  # a square one would have 10^12 entries
    factor = torch.full((n, 1), 2.0 / math.sqrt(n), dtype=torch.float64)  # of length 2
    one = torch.ones(n, dtype=torch.float64)
    p = dist.LowRankMultivariateNormal(0 * one, factor, one)
    q = dist.Normal(0 * one, one).to_event(1)
    assert float(kl_divergence(p, q)) == pytest.approx((4 - math.log(5)) / 2, rel=1e-6)
    assert float(kl_divergence(q, p)) == pytest.approx((math.log(5) - 4 / 5) / 2, rel=1e-6)


@pytest.mark.parametrize("kind", ["low rank", "full rank"])
@pytest.mark.parametrize(
    "other",
    [
        dist.Laplace(torch.zeros(D), 1.0).to_event(1),
        dist.Normal(torch.zeros(2, D), 1.0).to_event(2),
        dist.Independent(dist.Normal(torch.zeros(D), 1.0).to_event(1), 0),
        dist.Normal(torch.zeros(D), 1.0).mask(torch.ones(D).bool()).to_event(1),
    ],
)
def test_of_other_elements_there_is_none(kind: str, other: Any) -> None:
    with pytest.raises(NotImplementedError, match="no KL in closed form between"):
        kl_divergence(correlated(kind, dist), other)


class LaplacePrior(Prior):
    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.Laplace(torch.zeros(self.latent_dim), 1.0).to_event(1)
        return fn


@pytest.mark.parametrize("family", [FullRank, LowRank])
def test_the_audit_finds_them_and_says_where_there_is_none(family: type[nn.Module]) -> None:
    x = torch.randn(7, 3)
    for prior, kl in ((StandardNormal(2), "exact"), (LaplacePrior(2), "Monte Carlo")):
        pair = Pair(
            VAE(prior, Gaussian((3,), variance=1.0)),
            family(2, (3,), partial(MLP, hidden=())),
            {"x": x},
        )
        facts = audit(pair, TraceMeanField_ELBO, {"x": x})
        assert facts.sites[0].kl == kl


def test_four_pairs_are_registered_and_no_other() -> None:
    ours = {
        pair for pair, kl in _KL_REGISTRY.items() if kl.__module__ == divergences.__name__
    }  # fmt: skip
    low, full = (
        torch.distributions.LowRankMultivariateNormal,
        torch.distributions.MultivariateNormal,
    )
    independent = torch.distributions.Independent
    delta = (dist.Delta, dist.Distribution)  # Pyro's own, with the log-density of a map
    assert ours == {delta, (low, independent), (full, independent), (independent, low)}


def test_the_kl_of_a_delta_counts_its_log_density() -> None:
    prior = dist.Normal(torch.zeros(5, 2), 1.0).to_event(1)
    v, log_density = torch.randn(5, 2), torch.randn(5)
    kl = kl_divergence(dist.Delta(v, log_density, event_dim=1), prior)
    assert torch.allclose(kl, log_density - prior.log_prob(v))
