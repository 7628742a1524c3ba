"""Variational autoencoders as probabilistic programs, on Pyro.

A model p(x, z) is a Pyro program, an amortized guide q(z | x) is another, and a bound on log p(x)
is what `ppvae.training` climbs. Parts are in `ppvae.models` and `ppvae.guides`; `ppvae.fit.fit` is
the main job, and `load` opens what it leaves.
"""

TYPE_CHECKING = False  # `typing` takes a moment, in which a command cannot yet be interrupted
if TYPE_CHECKING:
    from typing import Any

    from ppvae.arviz import to_datatree
    from ppvae.run import Run, load

    __version__: str

__all__ = ["Run", "load", "to_datatree"]


def __getattr__(name: str) -> "Any":
    # Late, so that importing one module of the package does not import all that a run needs.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ppvae")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "unknown"
    if name == "to_datatree":
        import ppvae.arviz

        return ppvae.arviz.to_datatree
    if name in __all__:
        import ppvae.run

        return getattr(ppvae.run, name)
    raise AttributeError(f"module 'ppvae' has no attribute {name!r}")
