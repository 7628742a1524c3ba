"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import override

from torch import Tensor, nn

from ppvae.networks.initial_weights import initialize
from ppvae.networks.layers import ACTIVATIONS, Activation, Feedforward, check_widths
from ppvae.networks.network import Shape


class MLP(Feedforward):
    """A multilayer perceptron, h_{l+1} = f(W_l h_l + b_l), linear at the end.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: shape of one output.
        hidden: width of each hidden layer; none makes the map affine.
        activation: f, by name.
        shortcut: add a linear map of the input to the output. W_l of the last layer starts at 0, so
            that the whole starts affine; without hidden layers it is affine anyway.

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
        shortcut: bool = False,
    ) -> None:
        check_widths("hidden", hidden)
        widths = [prod(in_shape), *hidden, prod(out_shape)]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Linear(a, b)] if i == 0 else [ACTIVATIONS[activation](), nn.Linear(a, b)]
        super().__init__(in_shape, (widths[0],), out_shape, layers)
        self.has_shortcut = shortcut
        self.shortcut: nn.Linear | None = None
        if shortcut and hidden:
            self.shortcut = nn.Linear(widths[0], widths[-1], bias=False)
            initialize([self.shortcut])
            nn.init.zeros_(self._last.weight)

    @property
    def affine(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of the affine map that training starts from, if it has a shortcut."""
        if not self.has_shortcut:
            return None
        return (self.shortcut or self._last).weight, self._last.bias

    @property
    def _last(self) -> nn.Linear:
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if self.shortcut is None:
            return out
        linear: Tensor = self.shortcut(x.flatten(x.dim() - self.in_dims))
        return out + linear.reshape(out.shape)
