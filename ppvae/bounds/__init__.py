"""Bounds that Pyro lacks, one a file, each for Pyro's own SVI and for `ppvae.capture`."""

from ppvae.bounds.importance_weighted import ImportanceWeightedELBO
from ppvae.bounds.sticking_the_landing import StickingTheLandingELBO

__all__ = ["ImportanceWeightedELBO", "StickingTheLandingELBO"]
