"""The sizes of a fit, by which it decides what it does: equal fits decide alike on any machine."""

from dataclasses import dataclass

from ppvae.programs import Pair


@dataclass(frozen=True)
class Sizes:
    """The sizes of a fit.

    Attributes:
        train: rows of the training data.
        valid: rows of the held-out data.
        batch: rows of a step, all processes together.
        numbers: how many numbers a row has, over all particles.
        parameters: how many numbers are learned.
        work: floating-point operations of the bound on a row, all particles together, in matrix
            products and convolutions.
    """

    train: int
    valid: int
    batch: int
    numbers: int
    parameters: int
    work: int


def room_of(pair: Pair) -> int:
    """Bytes that a run takes: a value and Adam's two of each parameter, in four checkpoints."""
    return 4 * 3 * sum(p.numel() * p.element_size() for p in pair.parameters())
