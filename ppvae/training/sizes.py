"""The sizes of a fit, by which it decides what it does: equal fits decide alike on any machine."""

from dataclasses import dataclass


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
