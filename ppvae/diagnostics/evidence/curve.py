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

    The points share draws, so their errors are correlated, and a rise between two of them is more
    precise than either.

    Attributes:
        counts: the values of K.
        bound: L_K, the mean over data of E log (1/K) sum_k w_k.
        standard_error: standard error of ``bound`` over data, including the noise of draws; NaN for
            a single datum.
        monte_carlo_error: the part of it due to the draws, for fixed data.
    """

    counts: tuple[int, ...]
    bound: Tensor
    standard_error: Tensor
    monte_carlo_error: Tensor


def bound_curve(log_weights: Tensor, counts: Sequence[int] | None = None) -> Curve:
    """The K-sample bound at several K, from one matrix of weights.

    L_K = E log (1/K) sum_k w_k rises from the evidence lower bound, at K = 1, to log p(x) (Burda et
    al., Importance Weighted Autoencoders, 2016). The draws of each datum are cut into complete
    groups of K, and the mean is over groups and data: unbiased at each K. The Monte Carlo error is
    from the spread of groups; for one group it is by the delta method, which is unreliable if few
    weights dominate the sum.

    Args:
        log_weights: ``(data, samples)``, from `importance_weights`.
        counts: the values of K; default 1, 2, 5, 10, 20, 50, ... up to the number of samples.

    Raises:
        InputError: if a K is below 1 or above the number of samples, or a weight is infinite or
            NaN. A weight of 0 is valid: a bound from it only is ``-inf``.
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
    """Gain of the bound from more samples, in nats per datum.

    Attributes:
        samples: K of the higher bound.
        bound: that bound of each datum: ``(rows,)``, float64.
        gain: it minus the lower bound, with the same draws; 0 where the lower one is ``-inf``, as
            if all weights are 0: ``(rows,)``, float64.
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

        The standard error includes the covariance of both, which share these data.

        Args:
            log_p: the lower bound of each datum, with other draws: ``(data,)``. Its first rows and
                those of `gain` are the same data.
        """
        lower, gain = Estimate.of(log_p), Estimate.of(self.gain)
        shared = min(len(log_p), len(self.gain))
        pairs = torch.stack([log_p[:shared].double(), self.gain[:shared]])
        one, other = pairs - pairs.mean(1, keepdim=True)
        # Cov(mean of n, mean of m) = Cov * shared / (n m); NaN for a single datum.
        covariance = (one * other).sum() / (shared - 1) / max(len(log_p), len(self.gain))
        variance = lower.standard_error**2 + gain.standard_error**2 + 2 * covariance
        return Estimate(lower.mean + gain.mean, float(variance.clamp(min=0).sqrt()))


def rise(log_weights: Tensor, low: int, high: int) -> Rise:
    """Gain of the bound from K = ``low`` to K = ``high``, paired by datum.

    Both bounds share draws, so it is far more precise than either. Added to the bound at K =
    ``low`` over many more data, it gives that at K = ``high`` at a fraction of the cost (Giles,
    Multilevel Monte Carlo Methods, 2015).

    Args:
        log_weights: ``(data, samples)``, from `importance_weights`.
        low: fewer samples.
        high: more samples, at most all.

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
                f"counts holds {count}, but there are {samples} samples; K must be from 1 to that "
                "number"
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
