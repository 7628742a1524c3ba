"""The job of every contender: program, network, data and optimizer.

p(x, z) = N(z; 0, I) Bernoulli(x; logits = decoder(z)), q(z | x) = N(z; loc, diag scale^2) with
(loc, s) = encoder(x) and log scale = 10 tanh(b / 10), b = asinh(s) above 0, s below. A step takes
the next batch in memory, draws z once, and updates the weights by Adam on the gradient of the
bound, with its KL in closed form. All contenders start from `initial_weights`.

A job with a file of images is a fit: its batches are shuffled and binarized anew in each epoch.
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
"""Default width of the hidden layers of ``mlp``."""
CHANNELS = (32, 64)
"""Channels of ``conv``: 3 x 3 convolutions of stride two to 14 x 14 and 7 x 7, relu, then affine;
the decoder mirrors them."""

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight and bias of each layer, in torch's shapes."""


@dataclass(frozen=True)
class Run:
    """A contender that is set up. From equal weights equal jobs reach about equal losses.

    Attributes:
        take: takes n steps, waits for the last, and returns its loss: minus the bound, nats per
            datum, or NaN if it has none.
        weights: current weights of encoder and decoder, if they have no convolutions.
    """

    take: Callable[[int], float]
    weights: Callable[[], tuple[Layers, Layers]]


@dataclass(frozen=True)
class Job:
    """Program, network, data and optimizer.

    Attributes:
        shape: the network.
        device: ``"cpu"`` or ``"cuda"``.
        batch: rows per step.
        latent: dimensions of z.
        particles: draws of z per datum; only this package's contenders take more than one.
        lr: learning rate of Adam; at 1e-12 the weights stay the initial ones.
        encoder: widths of the encoder's hidden layers, of ``mlp``.
        decoder: widths of the decoder's hidden layers, of ``mlp``.
        activation: between the layers of ``mlp``.
        spread: meaning of s: as above, the logarithm of the scale, or that of the variance.
        data: name of the data of a fit, as ``ppvae.fit --data`` takes it.
        images: file of a fit: ``train`` in bytes, ``held_out`` in zeros and ones.
        epoch: steps of an epoch; without a file all steps are one epoch.
        epochs: epochs over which the learning rate falls along a cosine; 0: it is constant.
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
        """Shape of one datum for this network."""
        return (784,) if self.shape == "mlp" else (1, 28, 28)

    def rate(self, step: int) -> float:
        """Learning rate of a step, constant within an epoch."""
        if not self.epochs:
            return self.lr
        done = min(step // self.epoch, self.epochs) / self.epochs
        return self.lr * (1 + math.cos(math.pi * done)) / 2
