"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from ppvae.networks.layers import ACTIVATIONS, Activation, Feedforward, check_widths
from ppvae.networks.network import Shape


class MLP(Feedforward):
    """A multilayer perceptron, h_{l+1} = f(W_l h_l + b_l), linear at the end.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: shape of one output.
        hidden: width of each hidden layer; none makes the map affine.
        activation: f, by name.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if a width is below 1.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Activation = "silu",
    ) -> None:
        check_widths("hidden", hidden)
        widths = [prod(in_shape), *hidden, prod(out_shape)]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Linear(a, b)] if i == 0 else [ACTIVATIONS[activation](), nn.Linear(a, b)]
        super().__init__(in_shape, (widths[0],), out_shape, layers)
