"""Sizes of a fit, on which its rules depend, so that equal fits decide alike on any machine."""

from dataclasses import dataclass

from ppvae.programs import Pair


@dataclass(frozen=True)
class Sizes:
    """The sizes of a fit.

    Attributes:
        train: number of training rows.
        valid: number of held-out rows.
        batch: rows per step, over all processes.
        numbers: numbers per row, over all particles.
        parameters: number of learned parameters.
        work: floating-point operations of the bound per row, over all particles, in matrix products
            and convolutions.
    """

    train: int
    valid: int
    batch: int
    numbers: int
    parameters: int
    work: int


def room_of(pair: Pair) -> int:
    """Size of a run in bytes: each parameter with Adam's two moments, in four checkpoints."""
    return 4 * 3 * sum(p.numel() * p.element_size() for p in pair.parameters())
