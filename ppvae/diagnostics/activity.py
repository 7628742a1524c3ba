"""Is the latent used? Units whose posterior mean moves with x."""

from torch import Tensor

__all__ = ["THRESHOLD", "active_units"]

THRESHOLD = 0.01
"""Variance of the posterior mean above which a unit counts as active (Burda et al., 2016)."""


def active_units(loc: Tensor, threshold: float = THRESHOLD) -> int:
    """Number of latent dimensions with Var_x(E_q[z | x]) above ``threshold``.

    Args:
        loc: posterior means, ``(data, dimensions)``.
        threshold: a variance, in squared units of z.
    """
    return int((loc.var(dim=0) > threshold).sum())
