"""A decoder's number as the logarithm of a rate of counts."""

from torch import Tensor

LIMIT = 20.0


def log_rate(h: Tensor) -> Tensor:
    """``h``, bent smoothly into (-20, 20): rates up to 480 million, and never infinite or 0."""
    return LIMIT * (h / LIMIT).tanh()
