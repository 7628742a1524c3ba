"""A mixture of Bernoullis: zeros and ones that are independent within a component."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted, best
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.programs.streams import Stream, generator

FIRST, MOST = 5, 320
"""The first number of components, which is doubled while the validation score improves."""

ROWS = 8
"""Minimum number of training rows per component."""

ITERATIONS = 10
"""Iterations of EM at each number."""

WORK = 3e10
"""Maximum number of multiplications of all iterations for a number of components."""


def fit_mixture_of_bernoullis(train: Matrix, valid: Matrix, seed: int) -> Fitted:
    """sum_k w_k prod_d p_kd^x_d (1 - p_kd)^(1 - x_d), by EM; the size that is best on ``valid``.

    Components are split in two from size to size. Each has a pseudo-row, the mean of all rows, so
    that no probability is 0 or 1. Unobserved elements do not count.

    Args:
        train: the training rows.
        valid: rows that select the number of components.
        seed: seed of the start.
    """
    return best(_mixtures(train, seed), valid)


def _mixtures(train: Matrix, seed: int) -> Iterator[Fitted]:
    chance = generator(Stream.BASELINES.seed(seed, 1))
    rows, elements = train.x.shape
    distinct = len(train.numbers.unique())
    shown = train.x * train.weight, (1 - train.x) * train.weight
    mean = (shown[0].sum(0) + 0.5) / (train.weight.sum(0) + 1)
    count = min(FIRST, max(1, distinct // ROWS))
    some = train.x[torch.randperm(rows, generator=chance)[:count]]
    p = 0.5 * mean + 0.25 + 0.0 * some + 0.25 * (some - 0.5)
    log_share = torch.full((count,), -math.log(count))
    while True:
        for _ in range(ITERATIONS):
            share = _log_joint(shown, p, log_share).softmax(1)
            total = share.sum(0)
            ones, zeros = (share.T @ each for each in shown)
            p = (ones + mean) / (ones + zeros + 1)
            log_share = ((total + 1) / (total.sum() + count)).log()
        yield _mixture(p, log_share)
        count *= 2
        if count > min(MOST, distinct // ROWS) or ITERATIONS * 4 * rows * elements * count > WORK:
            return
        # Each component becomes two, a little apart.
        noise = 0.3 * torch.randn(p.shape, generator=chance)
        p = torch.cat([(p.logit() + noise).sigmoid(), (p.logit() - noise).sigmoid()])
        log_share = torch.cat([log_share, log_share]) - math.log(2)


def _log_joint(shown: tuple[Tensor, Tensor], p: Tensor, log_share: Tensor) -> Tensor:
    """Log w_k p(x | k): ``(rows, components)``."""
    ones, zeros = shown
    return ones @ p.log().T + zeros @ (-p).log1p().T + log_share


def _mixture(p: Tensor, log_share: Tensor) -> Fitted:
    def log_prob(rows: Matrix) -> Tensor:
        shown = rows.x * rows.weight, (1 - rows.x) * rows.weight
        return _log_joint(shown, p, log_share).logsumexp(1)

    return Fitted(f"mixture of {len(p)} Bernoullis", log_prob)
