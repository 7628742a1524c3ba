"""Pareto k-hat: reliability of the importance weights of each datum.

The weight of a draw is p(x, z) / q(z | x). Its expectation is p(x) for any guide, but if the guide
misses mass of the posterior, a few draws dominate the mean, and finitely many draws may not show
it. The tail of the weights does: its shape, k-hat, tells how many of their moments exist.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.evidence.log_weights import blocks, check_log_weights, effective_samples
from ppvae.errors import InputError

LEAST = 30
"""Minimum number of draws: a fifth of them, the tail, must suffice to fit a distribution."""


@dataclass(frozen=True)
class Reliability:
    """Reliability of importance weights by datum; all ``(data,)``, float64.

    Attributes:
        khat: shape k of a generalized Pareto distribution fitted to the largest weights, those of
            min(S / 5, 3 sqrt(S)) of the S draws: 1 / k is the number of moments that the weights
            have. Below 0 they are bounded; from 1/2 they have no variance, from 1 no mean. ``-inf``
            if the largest weights are all equal, up to rounding, so there is no tail, as for an
            exact guide; ``inf`` if some of them are 0 relative to the largest, in double precision;
            NaN if ties leave no distribution to fit.
        ess: effective sample size (sum w)^2 / sum w^2 (Kish, 1965), from 1 to S; an overestimate if
            k-hat is large.
        log_p: log p(x), the log of the mean weight, in nats.
        smoothed: the same with the largest weights replaced by the expected order statistics of the
            fitted tail, truncated at the largest drawn weight: less noisy, with a small bias that
            grows with k-hat. From k-hat 1 neither of the two is valid.
        samples: S.
    """

    khat: Tensor
    ess: Tensor
    log_p: Tensor
    smoothed: Tensor
    samples: int

    @property
    def threshold(self) -> float:
        """The k-hat below which S draws suffice: min(1 - 1 / log10(S), 0.7).

        Source: Vehtari et al., Pareto Smoothed Importance Sampling, 2024.
        """
        return min(1 - 1 / math.log10(self.samples), 0.7)

    @property
    def good(self) -> float:
        """Fraction of the data whose k-hat is below `threshold`."""
        return float((self.khat < self.threshold).double().mean())

    def worst(self, n: int) -> Tensor:
        """Indices of the ``n`` data with the largest k-hat, the worst first: ``(n,)``, int64.

        Data without a k-hat count as worst, and ties are ordered by effective sample size. All data
        if there are fewer than ``n``.

        Raises:
            InputError: if ``n`` is below 1.
        """
        if n < 1:
            raise InputError(f"n is {n}; it must be at least 1")
        by_ess = self.ess.argsort(stable=True)
        khat = self.khat.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        return by_ess[khat[by_ess].argsort(descending=True, stable=True)][:n]


def reliability(log_weights: Tensor) -> Reliability:
    """The tail of each datum's weights, by Pareto-smoothed importance sampling (ArviZ's).

    Sources: Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling, 2024;
    Yao, Vehtari, Simpson and Gelman, Yes, but Did It Work?, 2018, on judging a guide by it.

    Args:
        log_weights: ``(data, samples)``, from `importance_weights`.

    Raises:
        InputError: if there are fewer than 30 samples; if a weight is infinite or NaN; if all
            weights of a datum are 0. Single weights of 0 are valid.
    """
    data, samples = check_log_weights(log_weights)
    if samples < LEAST:
        raise InputError(
            f"there are {samples} samples per datum; a tail of weights needs at least {LEAST}, "
            "better 1000"
        )
    missed = log_weights.isneginf().all(1)
    if missed.any():
        raise InputError(
            f"all weights of {int(missed.sum())} data are 0, the first of them those of datum "
            f"{int(missed.nonzero()[0])}: no draw of the guide is in the support of the model; "
            "take a guide whose support is within the model's"
        )
    figures = torch.empty(4, data, dtype=torch.float64)
    for rows in blocks(log_weights):
        figures[:, rows] = _tails(log_weights[rows].double(), torch.finfo(log_weights.dtype).eps)
    khat, ess, log_p, smoothed = figures
    return Reliability(khat, ess, log_p, smoothed, samples)


def _tails(weights: Tensor, eps: float) -> Tensor:
    """k-hat, effective sample size, log p and smoothed log p of each row: ``(4, rows)``.

    Args:
        weights: log-weights, float64.
        eps: relative rounding of their original precision.
    """
    samples = weights.shape[1]
    ess = effective_samples(weights).clamp(max=samples)
    log_p = weights.logsumexp(1) - math.log(samples)
    largest = weights.amax(1, keepdim=True)
    # Weights below e^-800 of the largest are 0 in double precision and need no logarithm.
    centred = (weights - largest).clamp(min=-800)
    tail = min(samples // 5, int(3 * math.sqrt(samples)))
    lowest = centred.topk(tail, dim=1).values[:, -1]
    # Sums of many terms have errors of some hundred roundings.
    rounding = 256 * eps * largest[:, 0].abs().clamp(min=1)
    has_tail = lowest < -rounding
    underflows = lowest < math.log(torch.finfo(torch.float64).tiny)
    khat = torch.where(underflows, math.inf, torch.full_like(ess, -math.inf))
    smoothed = log_p.clone()
    fits = has_tail & ~underflows
    if fits.any():
        khat[fits], ratio = _pareto(centred[fits])
        # Without a fitted distribution, the weights are unchanged.
        smoothed[fits] = torch.where(ratio.isfinite(), largest[fits, 0] + ratio, log_p[fits])
    return torch.stack([khat, ess, log_p, smoothed])


def _pareto(centred: Tensor) -> tuple[Tensor, Tensor]:
    """k-hat of each row, and the log of the mean smoothed weight: ``(rows,)`` each.

    ArviZ takes log-likelihoods, the negative log-weights, and returns smoothed weights that sum to
    1; the smallest weight, which is not smoothed, gives their normalization.
    """
    import numpy as np
    from arviz_stats.base.array import array_stats

    arviz: Any = array_stats  # untyped
    with np.errstate(all="ignore"):  # ratios of weights may overflow
        normalized, khat = arviz.psislw(-centred.numpy(), axis=-1)
    smallest = centred.argmin(1, keepdim=True)
    share = torch.from_numpy(normalized).gather(1, smallest)
    total = (centred.gather(1, smallest) - share)[:, 0]
    return torch.from_numpy(khat), total - math.log(centred.shape[1])
