"""Lists of bounds by their traits, and both ways to draw their particles."""

from typing import Any

import pytest

from ppvae.bounds import ELBOS
from ppvae.bounds.traits import traits_of

__all__ = ["LINEAR", "both_ways", "particles"]

LINEAR = tuple(elbo for elbo in ELBOS if traits_of(elbo).is_linear)
"""Bounds whose value is reconstruction - beta KL for every draw."""

both_ways = pytest.mark.parametrize("vectorize", [False, True], ids=["looped", "vectorized"])


def particles(elbo: Any, k: int = 1, vectorize: bool = False, **options: Any) -> Any:
    return elbo(num_particles=k, vectorize_particles=vectorize, **options)
