"""The bars that compiled SVI is held to, and whether a race met them."""

from dataclasses import dataclass

from .job import Job

__all__ = ["Bar", "bars", "verdict"]


@dataclass(frozen=True)
class Bar:
    """One contender is to take at most ``most`` times as long as another."""

    contender: str
    rival: str
    most: float


_CPU = (
    Bar("ours-compiled", "pyro-meanfield", 0.50),
    Bar("ours-compiled", "torch", 0.80),
    Bar("ours-compiled", "torch-compiled", 0.95),
    Bar("ours-compiled", "products", 1.25),
    Bar("ours-compiled", "numpyro-loop", 1.30),
    Bar("ours-bf16", "numpyro-loop", 1.00),
    Bar("ours", "pyro-meanfield", 1.00),
)
_CUDA = (Bar("ours-compiled", "torch-cudagraphs", 1.00),)


def bars(job: Job) -> tuple[Bar, ...]:
    """The bars that are set for this job."""
    if job.shape != "mlp":
        return ()
    return _CUDA if job.device == "cuda" else _CPU


def verdict(reached: float | None, most: float) -> str:
    """Whether a ratio is at most what it is to be, and by how much it is not."""
    if reached is None:
        return "not run"
    return "met" if reached <= most else f"missed by {reached / most - 1:.1%}"
