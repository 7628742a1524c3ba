"""Programs and training steps as graphs and native code; all of the package's private-torch code.

`capture` makes Pyro's ``elbo(model, guide)`` one compiled module.
"""

from ppvae.compilation.captured import Captured
from ppvae.compilation.loss import capture

__all__ = ["Captured", "capture"]
