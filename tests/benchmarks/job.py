"""The job: the same program, network, data and optimizer for every contender.

p(x, z) = N(z; 0, I) Bernoulli(x; logits = decoder(z)), q(z | x) = N(z; loc, diag scale^2) with
(loc, s) = encoder(x) and log scale = 10 tanh(b / 10), b = asinh(s) above 0, s below. A step takes
the next resident batch, draws z once, and moves the weights by Adam along the gradient of the
bound, its KL in closed form. All contenders start from the weights of `initial_weights`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["CHANNELS", "HIDDEN", "Job", "Run", "Shape"]

Shape = Literal["mlp", "conv"]
HIDDEN = 400
"""Width of the hidden layer of ``mlp``: 784-400-latent-400-784, relu."""
CHANNELS = (32, 64)
"""Channels of ``conv``: 3 x 3 convolutions of stride two to 14 x 14 and 7 x 7, relu, then affine;
the decoder mirrors them."""

Run = Callable[[int], float]
"""Takes n steps, returns when the last has been computed, and gives the loss that it climbed by:
minus the bound, nats per datum, or NaN where there is none. From equal weights, by equal noise or
not, equal jobs reach about equal losses."""


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do.

    Attributes:
        shape: the network.
        device: ``"cpu"`` or ``"cuda"``.
        batch: data in a step.
        latent: dimensions of z.
        particles: draws of z per datum; more than one is asked of ours alone.
        lr: learning rate of Adam; at 1e-12 the weights stay the initial ones.
    """

    shape: Shape
    device: str = "cpu"
    batch: int = 128
    latent: int = 20
    particles: int = 1
    lr: float = 1e-3

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one datum, as this network reads it."""
        return (784,) if self.shape == "mlp" else (1, 28, 28)
