"""Can the guide be trusted, datum by datum? The weights of its draws, and what carries their sum.

A draw's weight is p(x, z) / q(z | x). Its mean over draws is p(x) whatever the guide, but where the
guide misses mass of the posterior a few draws carry that mean, and no number of draws that is at
hand tells. The tail of the weights does: its shape, k-hat, says how many of their moments exist.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.evidence.log_weights import blocks, check_log_weights, effective_samples
from ppvae.errors import InputError

LEAST = 30
"""Draws below which a fifth of them, the tail, is too few to fit a distribution to."""


@dataclass(frozen=True)
class Reliability:
    """How far importance weights can be trusted, datum by datum; all ``(data,)``, float64.

    Attributes:
        khat: shape k of a generalized Pareto distribution fitted to the largest weights, those of
            min(S / 5, 3 sqrt(S)) of the S draws: 1 / k is the number of moments that the weights
            have. Below 0 they are bounded; from 1/2 they have no variance, from 1 no mean.
            ``-inf`` where these largest weights are all equal, to rounding, so that there is no
            tail, as with the exact posterior for a guide; ``inf`` where some of them are 0 beside
            the largest, in double precision; not a number where ties among them leave no
            distribution to fit.
        ess: effective sample size (sum w)^2 / sum w^2 (Kish, 1965), from 1 to S; itself
            an overestimate where k-hat is large.
        log_p: log p(x), the log of the mean weight, in nats.
        smoothed: the same with the largest weights replaced by the expected order statistics of
            the fitted tail, and none above the largest weight as drawn: less noisy, at the price
            of a small bias that grows with k-hat. From k-hat 1 neither of the two is an estimate.
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

        Data without a k-hat count among the worst, and of equals the one with the smaller
        effective sample size is the worse. All data, where there are fewer than ``n``.

        Raises:
            InputError: if ``n`` is below 1.
        """
        if n < 1:
            raise InputError(f"n is {n}; ask for at least 1 datum")
        by_ess = self.ess.argsort(stable=True)
        khat = self.khat.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        return by_ess[khat[by_ess].argsort(descending=True, stable=True)][:n]


def reliability(log_weights: Tensor) -> Reliability:
    """The tail of each datum's weights, by Pareto-smoothed importance sampling (ArviZ's).

    Sources: Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling, 2024;
    Yao, Vehtari, Simpson and Gelman, Yes, but Did It Work?, 2018, on judging a guide by it.

    Args:
        log_weights: ``(data, samples)``, as `importance_weights` gives them.

    Raises:
        InputError: if there are fewer than 30 samples; if a weight is infinite or not a number; if
            all weights of a datum are 0. Some weights of 0 are weights like others.
    """
    data, samples = check_log_weights(log_weights)
    if samples < LEAST:
        raise InputError(
            f"there are {samples} samples a datum; a tail of weights needs at least {LEAST}, and "
            "is worth looking at from 1000"
        )
    missed = log_weights.isneginf().all(1)
    if missed.any():
        raise InputError(
            f"all weights of {int(missed.sum())} data are 0, the first of them those of datum "
            f"{int(missed.nonzero()[0])}: the guide draws nothing that the model allows; take a "
            "guide whose support lies in the model's"
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
        eps: the relative rounding of the type that they were computed in.
    """
    samples = weights.shape[1]
    ess = effective_samples(weights).clamp(max=samples)
    log_p = weights.logsumexp(1) - math.log(samples)
    largest = weights.amax(1, keepdim=True)
    # Weights below e^-800 of the largest are 0 in double precision, and so need no logarithm.
    centred = (weights - largest).clamp(min=-800)
    tail = min(samples // 5, int(3 * math.sqrt(samples)))
    lowest = centred.topk(tail, dim=1).values[:, -1]
    # Sums of many terms are off by some hundreds of roundings.
    rounding = 256 * eps * largest[:, 0].abs().clamp(min=1)
    has_tail = lowest < -rounding
    underflows = lowest < math.log(torch.finfo(torch.float64).tiny)
    khat = torch.where(underflows, math.inf, torch.full_like(ess, -math.inf))
    smoothed = log_p.clone()
    fits = has_tail & ~underflows
    if fits.any():
        khat[fits], ratio = _pareto(centred[fits])
        # Where no distribution was found, the weights are as they were.
        smoothed[fits] = torch.where(ratio.isfinite(), largest[fits, 0] + ratio, log_p[fits])
    return torch.stack([khat, ess, log_p, smoothed])


def _pareto(centred: Tensor) -> tuple[Tensor, Tensor]:
    """k-hat of each row, and the log of the smoothed weights' mean: ``(rows,)`` each.

    ArviZ takes log-likelihoods, whose negatives are the log-weights, and gives smoothed weights
    that sum to 1; the smallest weight, which is not smoothed, says what they were divided by.
    """
    import numpy as np
    from arviz_stats.base.array import array_stats

    arviz: Any = array_stats  # which states no types
    with np.errstate(all="ignore"):  # weights whose ratio no number can hold
        normalized, khat = arviz.psislw(-centred.numpy(), axis=-1)
    smallest = centred.argmin(1, keepdim=True)
    share = torch.from_numpy(normalized).gather(1, smallest)
    total = (centred.gather(1, smallest) - share)[:, 0]
    return torch.from_numpy(khat), total - math.log(centred.shape[1])
