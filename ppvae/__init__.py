"""Variational autoencoders as probabilistic programs, on Pyro.

A model p(x, z) is a Pyro program, an amortized guide q(z | x) is another, and `ppvae.training`
maximizes a bound on log p(x). Parts are in `ppvae.models` and `ppvae.guides`; `ppvae.fit.fit` fits
them, and `load` opens the resulting run.
"""

TYPE_CHECKING = False  # importing `typing` takes time, in which a command cannot be interrupted
if TYPE_CHECKING:
    from typing import Any

    from ppvae.arviz import to_datatree
    from ppvae.fitted import Run, load

    __version__: str

__all__ = ["Run", "load", "to_datatree"]

_HOMES = {"Run": "fitted", "load": "fitted", "to_datatree": "arviz"}
_MODULES = (
    "arviz", "bounds", "compare", "data", "diagnose", "diagnostics", "distributions", "encode",
    "errors", "export", "fit", "guides", "models", "networks", "plots", "programs", "report",
    "sample", "sklearn",
)  # fmt: skip


def __getattr__(name: str) -> "Any":
    # Late, so that importing one module does not import all that a run needs.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ppvae")
        except PackageNotFoundError:  # a checkout that is not installed
            return "unknown"
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"ppvae.{name}")
    if name in _HOMES:
        return getattr(import_module(f"ppvae.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ppvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
