"""Compilation of Pyro programs: `capture`, Pyro's ``elbo(model, guide)`` as one compiled module."""

from ppvae.compilation.captured import Captured, capture

__all__ = ["Captured", "capture"]
