"""Log-weights log p(x, z) - log q(z | x), draw by draw and datum by datum."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor

__all__ = ["log_density", "log_weights"]


def log_density(terms: Iterable[Tensor]) -> Tensor:
    """The log-density of some sites together, in nats, of the terms of each by draw and datum."""
    return cast("Tensor", sum(terms))


def log_weights(log_p: Iterable[Tensor], log_q: Iterable[Tensor]) -> Tensor:
    """Log p(x, z) - log q(z | x) of each draw and datum, in nats.

    The mean of the weights over draws from q is p(x), whatever q is.

    Args:
        log_p: the log-density of each site of the model, summed within each datum, at draws of the
            guide; ``(particles, data)``, or broadcast to it.
        log_q: that of each site of the guide.
    """
    return log_density(log_p) - log_density(log_q)
