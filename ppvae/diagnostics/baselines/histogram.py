"""Independent histograms: each element has a probability for each of few whole numbers."""

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.independent import counts
from ppvae.diagnostics.baselines.rows import Matrix


def fit_histograms(train: Matrix, levels: int) -> Fitted:
    """p(x) = prod_d P_d(x_d): the share of each level in the training rows, element by element.

    Every element has one row more, in which each level has its share in all elements together, and
    one of all levels alike, so that no level is impossible.

    Args:
        train: whole numbers from 0.
        levels: one more than the largest that there may be.
    """
    every = torch.arange(levels, dtype=train.x.dtype)
    seen = counts(every, train.x.round(), train.weight)
    pooled = seen.sum(1, keepdim=True) / seen.sum()
    share = seen + pooled + 1 / levels
    log_share = (share / share.sum(0)).log()

    def log_prob(rows: Matrix) -> Tensor:
        level = rows.x.round().long().clamp(0, levels - 1)
        scored = log_share.gather(0, level)
        return (scored if rows.observed is None else scored.where(rows.observed, 0)).sum(1)

    return Fitted(f"independent histograms of {levels} levels", log_prob)
