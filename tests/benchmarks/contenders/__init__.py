"""Who takes part, by name; none of them is imported before its worker runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..job import Job, Run

__all__ = ["CONTENDERS", "LIMIT", "REFERENCE", "Contender"]

REFERENCE = "pyro-meanfield"
"""Pyro's own way to do the job; costs are told as ratios to it."""
LIMIT = "products"
"""What no way of writing the program can do without."""

_DISTRIBUTIONS = {"pyro": "pyro-ppl"}


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Attributes:
        title: what it is, for the table.
        module: the file of this folder whose ``make(job, **arguments)`` gives its `Run`.
        arguments: which of the file's variants it is.
        uses: libraries whose versions belong to its figures.
        requires: what is installed to run it, in an environment of its own; nothing: the package's
            environment has it all.
        device: the only device that it is for, if there is one.
    """

    title: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ("torch",)
    requires: tuple[str, ...] = ()
    device: str | None = None

    def maker(self) -> Callable[[Job], Run]:
        """Import the contender, and give what makes its `Run`."""
        make: Callable[..., Run] = import_module(f"{__name__}.{self.module}").make
        return partial(make, **self.arguments)

    @staticmethod
    def version(library: str) -> str:
        """The version of one of `uses` here."""
        return version(_DISTRIBUTIONS.get(library, library))


def _ours(title: str, *, compiled: bool, precision: str = "32") -> Contender:
    arguments = {"compiled": compiled, "precision": precision}
    return Contender(title, "ours", arguments, ("torch", "pyro"))


def _pyro(elbo: str) -> Contender:
    return Contender(f"Pyro {elbo}", "pyro_svi", {"elbo": elbo}, ("torch", "pyro"))


def _numpyro(title: str, loop: bool) -> Contender:
    uses, requires = ("numpyro", "jax"), ("numpyro", "jax[cpu]")
    # JAX as installed here has no CUDA, and would be timed on the processor instead.
    return Contender(title, "numpyro_svi", {"loop": loop}, uses, requires, device="cpu")


CONTENDERS: dict[str, Contender] = {
    "ours": _ours("ours, eager", compiled=False),
    "ours-compiled": _ours("ours, compiled", compiled=True),
    "ours-bf16": _ours("ours, compiled, bf16-mixed", compiled=True, precision="bf16-mixed"),
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
