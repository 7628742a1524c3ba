"""The job: the same program, network, data and optimizer for every contender.

p(x, z) = N(z; 0, I) Bernoulli(x; logits = decoder(z)), q(z | x) = N(z; loc, diag scale^2) with
(loc, s) = encoder(x) and log scale = 10 tanh(b / 10), b = asinh(s) above 0, s below. A step takes
the next resident batch, draws z once, and moves the weights by Adam along the gradient of the
bound, its KL in closed form. All contenders start from the weights of `initial_weights`.

A job with a file of images is a fit: its batches are shuffled, and binarized, anew in each epoch.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "HIDDEN", "Activation", "Job", "Layers", "Run", "Shape", "Spread"]

Shape = Literal["mlp", "conv"]
Activation = Literal["relu", "silu", "softplus"]
Spread = Literal["bounded", "log_scale", "log_variance"]
HIDDEN = 400
"""Width of the hidden layers of ``mlp``, where nothing else is asked for."""
CHANNELS = (32, 64)
"""Channels of ``conv``: 3 x 3 convolutions of stride two to 14 x 14 and 7 x 7, relu, then affine;
the decoder mirrors them."""

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight and bias of each layer, in the shapes that torch gives them."""


@dataclass(frozen=True)
class Run:
    """What a contender does. From equal weights equal jobs reach about equal losses.

    Attributes:
        take: takes n steps, returns when the last has been computed, and gives the loss that it
            climbed by: minus the bound, nats per datum, or NaN where there is none.
        weights: those of encoder and decoder as they now are, of networks without convolutions.
    """

    take: Callable[[int], float]
    weights: Callable[[], tuple[Layers, Layers]]


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
        encoder: widths of the hidden layers of ``mlp``.
        decoder: likewise.
        activation: between the layers of ``mlp``.
        spread: what s is: as above, the logarithm of the scale, or of the variance.
        data: the name of the data of a fit, as ``ppvae.fit --data`` takes it.
        images: the file of a fit: ``train`` in bytes, ``held_out`` in zeros and ones.
        epoch: steps of an epoch; without a file there is but one.
        epochs: how many the fit is laid out for: the rate falls along a cosine; 0: it is constant.
    """

    shape: Shape
    device: str = "cpu"
    batch: int = 128
    latent: int = 20
    particles: int = 1
    lr: float = 1e-3
    encoder: tuple[int, ...] = (HIDDEN,)
    decoder: tuple[int, ...] = (HIDDEN,)
    activation: Activation = "relu"
    spread: Spread = "bounded"
    data: str = ""
    images: str = ""
    epoch: int = sys.maxsize
    epochs: int = 0

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one datum, as this network reads it."""
        return (784,) if self.shape == "mlp" else (1, 28, 28)

    def rate(self, step: int) -> float:
        """Learning rate of a step, the same in all of its epoch."""
        if not self.epochs:
            return self.lr
        done = min(step // self.epoch, self.epochs) / self.epochs
        return self.lr * (1 + math.cos(math.pi * done)) / 2
