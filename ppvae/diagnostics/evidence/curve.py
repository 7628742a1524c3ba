"""The bound of K importance samples against K."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.evidence.log_weights import blocks, check_log_weights, effective_samples
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError


@dataclass(frozen=True)
class Curve:
    """The K-sample bound against K, in nats per datum; all ``(counts,)``, float64.

    The points are made of the same draws, so that they go up and down together, and a rise between
    two of them is surer than the errors of either.

    Attributes:
        counts: the values of K.
        bound: L_K, the mean over data of E log (1/K) sum_k w_k.
        standard_error: standard error of ``bound`` over data, to which the noise of the draws
            adds its part; not a number for a single datum.
        monte_carlo_error: the part of it that is the draws' own: what the error would be if these
            data were all there are.
    """

    counts: tuple[int, ...]
    bound: Tensor
    standard_error: Tensor
    monte_carlo_error: Tensor


def bound_curve(log_weights: Tensor, counts: Sequence[int] | None = None) -> Curve:
    """The K-sample bound at several K, from one matrix of weights.

    L_K = E log (1/K) sum_k w_k rises from the evidence lower bound, at K = 1, to log p(x) (Burda
    et al., Importance Weighted Autoencoders, 2016). Each datum's draws are cut into groups of K,
    as many as there are whole ones, and the mean is over groups and data: unbiased at each K. The
    Monte Carlo error is that of the groups' spread, and where there is one group only it is
    the delta method's, which misleads where few weights carry the sum.

    Args:
        log_weights: ``(data, samples)``, as `importance_weights` gives them.
        counts: the values of K; by default 1, 2, 5, 10, 20, 50, ... up to the samples there are.

    Raises:
        InputError: if a K is below 1 or above the number of samples, or a weight is infinite or
            not a number. A weight of 0 is a weight: a bound that it enters alone is ``-inf``.
    """
    data, samples = check_log_weights(log_weights)
    counts = _one_two_five(samples) if counts is None else tuple(counts)
    _check_counts(counts, samples)
    bound = torch.empty(len(counts), data, dtype=torch.float64)
    variance = torch.empty_like(bound)
    for rows in blocks(log_weights):
        weights = log_weights[rows].double()
        for i, count in enumerate(counts):
            bound[i, rows], variance[i, rows] = _grouped(weights, count)
    return Curve(
        counts,
        bound.mean(1),
        bound.std(1) / math.sqrt(data) if data > 1 else torch.full_like(bound[:, 0], math.nan),
        variance.sum(1).sqrt() / data,
    )


@dataclass(frozen=True)
class Rise:
    """What the bound gains from more samples, in nats per datum.

    Attributes:
        samples: K of the higher bound.
        bound: that bound of each datum: ``(rows,)``, float64.
        gain: it less the lower bound, of the same draws; 0 where the lower one is ``-inf``, as
            where all weights are 0: ``(rows,)``, float64.
    """

    samples: int
    bound: Tensor
    gain: Tensor

    @property
    def mean(self) -> float:
        """Mean of `gain` over data, in nats per datum."""
        return Estimate.of(self.gain).mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data."""
        return Estimate.of(self.gain).standard_error

    def added_to(self, log_p: Tensor) -> Estimate:
        """The mean of the lower bound over many data, plus the mean gain of the first of them.

        The standard error has the covariance of both, which share these data: where all are the
        same, the sum is that of each datum.

        Args:
            log_p: the lower bound of each datum, by other draws: ``(data,)``. Its first rows and
                `gain`'s are the same data.
        """
        lower, gain = Estimate.of(log_p), Estimate.of(self.gain)
        shared = min(len(log_p), len(self.gain))
        pairs = torch.stack([log_p[:shared].double(), self.gain[:shared]])
        one, other = pairs - pairs.mean(1, keepdim=True)
        # Cov(mean of n, mean of m) = Cov * shared / (n m); not a number for a single datum.
        covariance = (one * other).sum() / (shared - 1) / max(len(log_p), len(self.gain))
        variance = lower.standard_error**2 + gain.standard_error**2 + 2 * covariance
        return Estimate(lower.mean + gain.mean, float(variance.clamp(min=0).sqrt()))


def rise(log_weights: Tensor, low: int, high: int) -> Rise:
    """What the bound gains from K = ``low`` to K = ``high``: a difference within each datum.

    Both bounds are of the same draws, so that it is far surer than either. Added to the bound at
    K = ``low`` of many more data, it makes that at K = ``high`` of a part of its cost (Giles,
    Multilevel Monte Carlo Methods, 2015).

    Args:
        log_weights: ``(data, samples)``, as `importance_weights` gives them.
        low: fewer samples.
        high: more of them, at most those there are.

    Raises:
        InputError: as `bound_curve`.
    """
    data, samples = check_log_weights(log_weights)
    _check_counts((low, high), samples)
    lower, higher = torch.empty(2, data, dtype=torch.float64)
    for rows in blocks(log_weights):
        weights = log_weights[rows].double()
        lower[rows], higher[rows] = _grouped(weights, low)[0], _grouped(weights, high)[0]
    return Rise(high, higher, (higher - lower).masked_fill(lower.isneginf(), 0.0))


def _check_counts(counts: Sequence[int], samples: int) -> None:
    for count in counts:
        if not 1 <= count <= samples:
            raise InputError(
                f"counts holds {count}, and there are {samples} samples; a K is from 1 to them"
            )


def _one_two_five(most: int) -> tuple[int, ...]:
    decades = (10**i for i in range(len(str(most))))
    return tuple(k * decade for decade in decades for k in (1, 2, 5) if k * decade <= most)


def _grouped(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """L_K of each row, and the variance of that estimate: ``(rows,)`` each."""
    groups = weights[:, : weights.shape[1] // count * count].unflatten(1, (-1, count))
    logs = groups.logsumexp(-1) - math.log(count)
    if logs.shape[1] > 1:
        return logs.mean(1), logs.var(1) / logs.shape[1]
    # Var(w) / (K mean(w)^2) = 1 / ESS - 1 / K.
    return logs[:, 0], (1 / effective_samples(groups[:, 0]) - 1 / count).clamp(min=0)
