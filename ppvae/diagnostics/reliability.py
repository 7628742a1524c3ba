"""Can the guide be trusted, datum by datum? The weights of its draws, and what carries their sum.

A draw's weight is p(x, z) / q(z | x). Its mean over draws is p(x) whatever the guide, but where the
guide misses mass of the posterior a few draws carry that mean, and no number of draws that is at
hand tells. The tail of the weights does: its shape, k-hat, says how many of their moments exist.

A matrix of log-weights answers several questions: draw it once, by `importance_weights`, and ask
it for the bound at every K, by `bound_curve`, and for the tail of each datum, by `reliability`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.evidence import CHUNK, log_weights
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

__all__ = ["Curve", "Reliability", "bound_curve", "importance_weights", "reliability"]

LEAST = 30
"""Draws below which a fifth of them, the tail, is too few to fit a distribution to."""


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


def importance_weights(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    samples: int,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Log-weights log p(x, z) - log q(z | x) of draws z ~ q(z | x): ``(data, samples)``.

    They are in nats, on the CPU, of the pair's type or, where that is shorter, float32.
    Draws are taken in chunks of bounded size: what grows with ``samples`` is the answer alone. It
    is a function of ``seed``, and moves nothing.

    Args:
        pair: model and guide.
        audit: what the audit found of them.
        split: the data.
        samples: S, draws for each datum.
        batch_size: data at a time.
        seed: of the draws.
        device: where the pair is.
        on_rows: hears of each batch's number of data, for a progress bar.

    Raises:
        InputError: if the programs have no such weight per datum: a point-mass guide, latents
            outside the data's plate, or no such plate; or if ``samples`` is below 1.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; it must be at least 1")
    device = torch.device(device)
    chunks = list(torch.arange(len(split)).split(batch_size))
    kind = torch.promote_types(pair.dtype, torch.float32)
    weights = torch.empty(len(split), samples, dtype=kind)
    with evaluating(pair), Stream.IMPORTANCE_WEIGHTS.drawn(seed, device) as noise:
        batches = split.batches(chunks, device=device)
        for number, (rows, batch) in enumerate(zip(chunks, batches, strict=True)):
            noise.at(number)
            at_once = max(1, CHUNK // batch["x"].numel())
            for start in range(0, samples, at_once):
                drawn = log_weights(pair, audit, batch, min(at_once, samples - start))
                weights[rows[0] : rows[-1] + 1, start : start + len(drawn)] = drawn.T
            on_rows(len(rows))
    return weights


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
    data, samples = _checked(log_weights)
    counts = _one_two_five(samples) if counts is None else tuple(counts)
    for count in counts:
        if not 1 <= count <= samples:
            raise InputError(
                f"counts holds {count}, and there are {samples} samples; a K is from 1 to them"
            )
    bound = torch.empty(len(counts), data, dtype=torch.float64)
    variance = torch.empty_like(bound)
    for rows in _blocks(log_weights):
        weights = log_weights[rows].double()
        for i, count in enumerate(counts):
            bound[i, rows], variance[i, rows] = _grouped(weights, count)
    return Curve(
        counts,
        bound.mean(1),
        bound.std(1) / math.sqrt(data) if data > 1 else torch.full_like(bound[:, 0], math.nan),
        variance.sum(1).sqrt() / data,
    )


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
    data, samples = _checked(log_weights)
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
    found = torch.empty(4, data, dtype=torch.float64)
    for rows in _blocks(log_weights):
        found[:, rows] = _tails(log_weights[rows].double(), torch.finfo(log_weights.dtype).eps)
    khat, ess, log_p, smoothed = found
    return Reliability(khat, ess, log_p, smoothed, samples)


def _checked(log_weights: Tensor) -> tuple[int, int]:
    """Numbers of data and of samples, if these are log-weights."""
    if log_weights.dim() != 2 or not log_weights.numel():
        raise InputError(
            f"log_weights has shape {tuple(log_weights.shape)}; give (data, samples), as "
            "importance_weights does"
        )
    wrong = log_weights.isnan() | log_weights.isposinf()
    if wrong.any():
        row, draw = wrong.nonzero()[0].tolist()
        raise InputError(
            f"{int(wrong.sum())} of {log_weights.numel()} log-weights are not finite, the first of "
            f"them {float(log_weights[row, draw])}, of datum {row}: a density overflows there; "
            "look at that datum, or take another checkpoint"
        )
    data, samples = log_weights.shape
    return data, samples


def _blocks(log_weights: Tensor) -> list[slice]:
    """Rows to take at a time, so that copies in double precision stay small."""
    data, samples = log_weights.shape
    step = max(1, CHUNK // samples)
    return [slice(start, min(start + step, data)) for start in range(0, data, step)]


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
    return logs[:, 0], (1 / _ess(groups[:, 0]) - 1 / count).clamp(min=0)


def _ess(weights: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 of each row of log-weights."""
    return (2 * weights.logsumexp(1) - (2 * weights).logsumexp(1)).exp()


def _tails(weights: Tensor, eps: float) -> Tensor:
    """k-hat, effective sample size, log p and smoothed log p of each row: ``(4, rows)``.

    Args:
        weights: log-weights, float64.
        eps: the relative rounding of the type that they were computed in.
    """
    samples = weights.shape[1]
    ess = _ess(weights).clamp(max=samples)
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
