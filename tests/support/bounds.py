"""Lists of bounds by what they are."""

from ppvae.bounds import ELBOS
from ppvae.bounds.traits import traits_of

__all__ = ["LINEAR"]

LINEAR = tuple(elbo for elbo in ELBOS if traits_of(elbo).is_linear)
"""Those whose value is reconstruction - beta KL, draw by draw."""
