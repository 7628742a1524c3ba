"""The run directory: one fit, self-contained, and safe to open whoever made it.

Nothing in it is unpickled, classes of this package are looked up by exact name, and others are
imported only from modules that the caller trusts by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppvae.run.config import FORMAT, versions
    from ppvae.run.folder import check_unoccupied
    from ppvae.run.metrics import COLUMNS
    from ppvae.run.opening import load
    from ppvae.run.run import Run

__all__ = ["COLUMNS", "FORMAT", "Run", "check_unoccupied", "load", "versions"]

_HOMES = {
    "COLUMNS": "metrics", "FORMAT": "config", "Run": "run", "load": "opening",
    "check_unoccupied": "folder", "versions": "config",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Late: a command reads YAML before it imports torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'ppvae.run' has no attribute {name!r}")
    return getattr(import_module(f"ppvae.run.{_HOMES[name]}"), name)
