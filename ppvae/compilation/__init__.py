"""Compilation of programs and training steps to graphs and native code.

`capture` makes Pyro's ``elbo(model, guide)`` one compiled module. Code that uses private names of
torch is in this folder only.
"""

from ppvae.compilation.captured import Captured
from ppvae.compilation.loss import capture

__all__ = ["Captured", "capture"]
