"""How a fit is to go: epochs, the weight of the KL, patience, the largest gradient."""

from dataclasses import dataclass

from ppvae.errors import InputError
from ppvae.networks import is_positive
from ppvae.programs.streams import check_seed

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """How to climb.

    Attributes:
        epochs: passes over the training data.
        batch_size: data per step, over all processes together.
        beta: weight of the KL in what is climbed.
        warm_up: epochs over which the weight rises linearly from 0 to beta.
        patience: epochs without a better held-out objective before stopping; ``None``: never.
        clip: largest norm of the gradient, in nats per datum; ``None``: unclipped.
        seed: decides the order of the data and all noise; 0 to 2**32 - 1.

    Raises:
        InputError: if a number is out of its range, or the warm-up leaves no epoch at beta.
    """

    epochs: int = 100
    batch_size: int = 128
    beta: float = 1.0
    warm_up: int = 0
    patience: int | None = None
    clip: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("warm_up", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        check_seed(self.seed)
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience is {self.patience}; it must be at least 1, or left out")
        if self.clip is not None and not is_positive(self.clip):
            raise InputError(f"clip is {self.clip}; it must be above 0 and finite, or left out")
        if not (self.beta == 0 or is_positive(self.beta)):
            raise InputError(
                f"beta is {self.beta}; the weight of the KL must be 0 or more, and finite"
            )
        if self.warm_up >= self.epochs:
            raise InputError(
                f"a warm-up of {self.warm_up} epochs leaves none of the {self.epochs} at the beta "
                "asked for; shorten warm_up, or take more epochs"
            )

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """The weight of the KL at a step, counted from 0."""
        ramp = self.warm_up * steps_per_epoch
        return float(self.beta if step >= ramp else self.beta * step / ramp)
