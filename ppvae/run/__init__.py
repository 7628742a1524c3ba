"""The run directory: one fit, complete in itself, and safe to open whoever made it.

Nothing in it is unpickled, classes are looked up by exact name among those of this package, and
others are imported only from modules that the caller trusts by name.
"""

from ppvae.run.config import FORMAT, versions
from ppvae.run.folder import refuse_occupied
from ppvae.run.metrics import COLUMNS
from ppvae.run.run import Run, load

__all__ = ["COLUMNS", "FORMAT", "Run", "load", "refuse_occupied", "versions"]
