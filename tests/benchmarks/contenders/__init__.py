"""Contenders by name; each is imported in its own worker only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..job import Job, Run

__all__ = ["CONTENDERS", "LIMIT", "REFERENCE", "Contender"]

REFERENCE = "pyro-meanfield"
"""Pyro's own SVI, the denominator of ratios."""
LIMIT = "products"
"""The matrix products alone, a lower limit of the cost."""

_DISTRIBUTIONS = {"pyro": "pyro-ppl"}


@dataclass(frozen=True)
class Contender:
    """An implementation of the job.

    Attributes:
        title: its name in tables.
        module: module of this folder whose ``make(job, **arguments)`` returns its `Run`.
        arguments: arguments that select a variant of the module.
        uses: libraries whose versions are reported.
        requires: libraries to install in its own environment; empty: it runs in the package's.
        device: the only device it supports; None: all.
    """

    title: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ("torch",)
    requires: tuple[str, ...] = ()
    device: str | None = None

    def maker(self) -> Callable[[Job], Run]:
        """Import the contender, and return the function that makes its `Run`."""
        make: Callable[..., Run] = import_module(f"{__name__}.{self.module}").make
        return partial(make, **self.arguments)

    @staticmethod
    def version(library: str) -> str:
        """The installed version of a library of `uses`."""
        return version(_DISTRIBUTIONS.get(library, library))


def _ours(title: str, *, compiled: bool, precision: str = "32") -> Contender:
    arguments = {"compiled": compiled, "precision": precision}
    return Contender(title, "ours", arguments, ("torch", "pyro"))


def _pyro(elbo: str) -> Contender:
    return Contender(f"Pyro {elbo}", "pyro_svi", {"elbo": elbo}, ("torch", "pyro"))


def _numpyro(title: str, loop: bool) -> Contender:
    uses, requires = ("numpyro", "jax"), ("numpyro", "jax[cpu]")
    # `jax[cpu]` has no CUDA, and would be timed on the processor instead.
    return Contender(title, "numpyro_svi", {"loop": loop}, uses, requires, device="cpu")


CONTENDERS: dict[str, Contender] = {
    "ours": _ours("ppvae, eager", compiled=False),
    "ours-compiled": _ours("ppvae, compiled", compiled=True),
    "ours-bf16": _ours("ppvae, compiled, bf16-mixed", compiled=True, precision="bf16-mixed"),
    "pyro-trace": _pyro("Trace_ELBO"),
    "pyro-meanfield": _pyro("TraceMeanField_ELBO"),
    "pyro-jit": _pyro("JitTrace_ELBO"),
    "torch": Contender("PyTorch, eager", "by_hand"),
    "torch-compiled": Contender("PyTorch, torch.compile", "by_hand", {"mode": "default"}),
    "torch-cudagraphs": Contender(
        "PyTorch, reduce-overhead", "by_hand", {"mode": "reduce-overhead"}, device="cuda"
    ),
    "numpyro-loop": _numpyro("NumPyro, jitted fori_loop", loop=True),
    "numpyro-step": _numpyro("NumPyro, jitted update", loop=False),
    "pythae": Contender(
        "pythae, its trainer's step", "pythae_trainer", {}, ("torch", "pythae"),
        ("pythae", "torch"),
    ),
    "products": Contender("matrix products alone", "products"),
}  # fmt: skip
