"""Compilation of Pyro programs: `capture`, Pyro's ``elbo(model, guide)`` as one compiled module."""

from ppvae.capture import Captured, capture

__all__ = ["Captured", "capture"]
