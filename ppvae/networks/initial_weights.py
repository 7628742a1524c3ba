"""Initial weights of feedforward networks, under which a signal keeps its size from layer to layer.

Under torch's own, of variance 1 / (3 fan-in), it shrinks, and a network starts on a plateau.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import nn

Affine = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

Nonlinear = nn.ReLU | nn.Tanh | nn.Softplus | nn.GELU | nn.SiLU | nn.ELU | nn.LeakyReLU | nn.GLU


def initialize(layers: Sequence[nn.Module]) -> None:
    """Draw the weights of affine layers by Glorot's rule (Glorot and Bengio, 2010); biases are 0.

    A weight is uniform, of variance 2 g^2 / (fan-in + fan-out), between that which keeps the size
    of what goes forward and that of gradients, which go back. The gain g undoes what the
    nonlinearity before the layer takes away (He et al., 2015); it is 1 in the last layer, so that
    what a network first says of a datum is small. Weights are drawn from torch's generator, layer
    by layer.

    Args:
        layers: a network's, the first first. What is no affine map stays as it is: a
            `ResidualBlock`, which normalizes, has weights of its own.
    """
    g = 1.0
    for layer, after in zip_longest(layers, layers[1:]):
        if isinstance(layer, Affine):
            g = 1.0 if after is None else g
            bound = g * math.sqrt(6 / _fans(layer, is_gated=isinstance(after, nn.GLU)))
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            g = 1.0
        elif isinstance(layer, Nonlinear):
            g = gain(layer)


def _fans(layer: Affine, *, is_gated: bool) -> float:
    """Numbers that one output is made of, and numbers that one input goes to, on average.

    A stride parts the second of a convolution, and the first of a transposed one, which are both
    the channels of the weights' first dimension. Map and gate are two maps in one matrix.
    """
    first, second, *kernel = layer.weight.shape
    stride = 1 if isinstance(layer, nn.Linear) else math.prod(layer.stride)
    return math.prod(kernel) * (first / (2 if is_gated else stride) + second)


def gain(nonlinearity: nn.Module) -> float:
    """1 / sqrt(E f(e)^2), e standard normal: 1.41 of relu, 1.68 of silu, 1.59 of tanh.

    A gate's is 1.84: it passes E sigmoid(e)^2 of a variance.
    """
    e = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000)
    out = e.sigmoid() if isinstance(nonlinearity, nn.GLU) else nonlinearity(e)
    return float(out.square().mean().rsqrt())
