"""Initial weights of feedforward networks that keep the size of a signal from layer to layer.

With torch's defaults, of variance 1 / (3 fan-in), it shrinks, and training starts on a plateau.
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

    A weight is uniform with variance 2 g^2 / (fan-in + fan-out), a compromise between keeping the
    size of activations and of gradients. The gain g makes up for the nonlinearity before the layer
    (He et al., 2015); it is 1 in the last layer, so that the first outputs of a network are small.
    Weights are drawn from torch's generator, layer by layer.

    Args:
        layers: the layers of a network in order. Only affine maps change: a `ResidualBlock`, which
            normalizes, initializes its own weights.
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
    """Number of inputs of one output, plus number of outputs of one input, on average.

    A stride divides the latter in a convolution, and the former in a transposed one, where both are
    the channels of the weights' first dimension. Map and gate are two maps in one matrix.
    """
    first, second, *kernel = layer.weight.shape
    stride = 1 if isinstance(layer, nn.Linear) else math.prod(layer.stride)
    return math.prod(kernel) * (first / (2 if is_gated else stride) + second)


def gain(nonlinearity: nn.Module) -> float:
    """1 / sqrt(E f(e)^2), e standard normal: 1.41 for relu, 1.68 for silu, 1.59 for tanh.

    For a gate it is 1.84, as it passes E sigmoid(e)^2 of a variance.
    """
    e = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000)
    out = e.sigmoid() if isinstance(nonlinearity, nn.GLU) else nonlinearity(e)
    return float(out.square().mean().rsqrt())
