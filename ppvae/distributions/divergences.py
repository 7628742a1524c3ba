"""KL divergences in closed form for pairs of normal families that torch and Pyro lack.

Importing this module registers them with torch, so that `TraceMeanField_ELBO` finds them: from a
normal with correlations (`MultivariateNormal`, `LowRankMultivariateNormal`) to one without
(``Normal(...).to_event(1)``), as from a guide to a standard prior, and from the latter to
`LowRankMultivariateNormal`; Pyro has the one to `MultivariateNormal`. With N(m, S) against
N(m', diag s^2), both over D dimensions::

    KL = 1/2 sum_j [(S_jj + (m_j - m'_j)^2) / s_j^2 + log 2 pi s_j^2] - H(N(m, S)).

Pyro's KL from a `Delta` ignores ``log_density``, which a Delta at a map of other draws has; here it
counts::

    KL = log_density - log q(v).

A low-rank covariance is never expanded to a D x D matrix. Batch shapes broadcast; units are nats.
"""

import math
from typing import Any

import torch
from pyro.distributions import Delta, Distribution
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal
from torch.distributions.kl import register_kl

__all__: list[str] = []


def _correlated_diagonal(p: Any, q: Any) -> Tensor:
    base = _diagonal(p, q)
    square = ((p.variance + (p.mean - base.loc).square()) / base.variance).sum(-1)
    cross = 0.5 * square + base.scale.log().sum(-1) + 0.5 * p.event_shape[0] * math.log(2 * math.pi)
    kl: Tensor = cross - p.entropy()
    return kl


def _diagonal_low_rank(p: Any, q: Any) -> Tensor:
    base = _diagonal(q, p)
    # (W W' + D)^-1 has the diagonal 1 / D_jj - |A_j|^2 with A = C^-1/2 W' D^-1, C = I + W' D^-1 W.
    scaled = q.cov_factor.mT / q.cov_diag.unsqueeze(-2)
    eye = torch.eye(scaled.shape[-2], dtype=scaled.dtype, device=scaled.device)
    capacitance = eye + scaled @ q.cov_factor
    a = torch.linalg.solve_triangular(torch.linalg.cholesky(capacitance), scaled, upper=False)
    precision = q.cov_diag.reciprocal() - a.square().sum(-2)
    trace = (base.variance * precision).sum(-1)
    kl: Tensor = 0.5 * trace - q.log_prob(base.loc) - p.entropy()
    return kl


def _map(p: Any, q: Any) -> Tensor:
    kl: Tensor = p.log_density - q.log_prob(p.v)
    return kl


def _diagonal(correlated: Any, independent: Any) -> Any:
    """The normal of which ``independent`` is a product over one dimension.

    Raises:
        NotImplementedError: if it is anything else; callers then fall back to Monte Carlo.
    """
    base = independent.base_dist
    if not isinstance(base, Normal) or independent.reinterpreted_batch_ndims != 1:
        raise NotImplementedError(
            f"no KL in closed form between {type(correlated).__name__} and independent elements of "
            f"{type(base).__name__}"
        )
    return base


register_kl(Delta, Distribution)(_map)
register_kl(MultivariateNormal, Independent)(_correlated_diagonal)
register_kl(LowRankMultivariateNormal, Independent)(_correlated_diagonal)
register_kl(Independent, LowRankMultivariateNormal)(_diagonal_low_rank)
