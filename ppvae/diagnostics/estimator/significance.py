"""Significance of differences."""

TAIL = 0.005
"""Probability of a false difference, on each side."""


def errors_beyond_noise(freedom: int, tail: float = TAIL) -> float:
    """Standard errors that noise exceeds with probability ``tail`` on each side.

    By Student's t with ``freedom`` degrees of freedom, at least 1.
    """
    from scipy.stats import t  # late: it takes a second to import

    return float(t.ppf(1 - tail, max(freedom, 1)))
