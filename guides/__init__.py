"""Variational families q(z | x), each an amortized Pyro program."""

from ppvae.guides.amortized import Amortized
from ppvae.guides.delta import Delta
from ppvae.guides.mean_field import MeanField

__all__ = ["Amortized", "Delta", "MeanField"]
