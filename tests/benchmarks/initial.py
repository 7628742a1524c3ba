"""Initial weights, the same for every contender, from torch's distribution."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .job import CHANNELS, Job, Layers

__all__ = ["initial_weights"]


def initial_weights(job: Job) -> tuple[Layers, Layers]:
    """Weights of encoder and decoder, uniform within +- 1 / sqrt(fan-in)."""
    few, many = CHANNELS
    encoder: list[tuple[int, ...]]
    decoder: list[tuple[int, ...]]
    if job.shape == "mlp":
        encoder = [(b, a) for a, b in pairwise([784, *job.encoder, 2 * job.latent])]
        decoder = [(b, a) for a, b in pairwise([job.latent, *job.decoder, 784])]
        biases = [b for b, *_ in decoder]
    else:
        encoder = [(few, 1, 3, 3), (many, few, 3, 3), (2 * job.latent, many * 7 * 7)]
        # A transposed convolution has its input channels first.
        decoder = [(many * 7 * 7, job.latent), (many, few, 3, 3), (few, 1, 3, 3)]
        biases = [many * 7 * 7, few, 1]
    draws = np.random.default_rng(0)

    def layer(shape: tuple[int, ...], bias: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        most = 1 / math.sqrt(math.prod(shape[1:]))
        weight = draws.uniform(-most, most, shape).astype(np.float32)
        return weight, draws.uniform(-most, most, bias).astype(np.float32)

    return (
        [layer(shape, shape[0]) for shape in encoder],
        [layer(shape, bias) for shape, bias in zip(decoder, biases, strict=True)],
    )
