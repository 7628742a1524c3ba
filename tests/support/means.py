"""Comparison of sample means with expectations."""

import math

from torch import Tensor


def is_mean(samples: Tensor, want: Tensor, slack: float = 1e-9) -> bool:
    """Whether means of independent samples, ``(samples, ...)``, are within 5 standard errors."""
    error = samples.std(0) / math.sqrt(len(samples))
    return bool(((samples.mean(0) - want).abs() <= 5 * error + slack).all())
