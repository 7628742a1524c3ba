"""A hierarchy inferred top-down, by networks of the guide alone."""

from collections.abc import Sequence
from itertools import pairwise

import pyro
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.guides.hierarchical import BottomUpPass, diagonal, hierarchy
from ppvae.networks import MLP, Network, Shape, beside, per_unit
from ppvae.networks.column_features import blanked
from ppvae.networks.layers import Activation


class TopDown(PyroModule):
    """q(z_1, ..., z_L | x) = q(z_L | x) prod_l q(z_l | z_{l+1}, x), nothing shared with the model.

    A deterministic bottom-up pass, d_1(x), ..., d_L(x), as in `Ladder`; then each layer is a
    diagonal normal whose loc and scale a network computes from z_{l+1} and d_l, as in the two
    layers of Tomczak and Welling (2018). It draws in the model's order, so that each layer's KL is
    in closed form.

    Args:
        model: the hierarchy, which has the dimensions of each layer.
        data_shape: shape of one datum.
        encoder: makes the network from x to d_1: out shape ``(features,)``.
        features: numbers in each d_l.
        hidden: width of each hidden layer of the networks from d_l to d_{l+1}, and from z_{l+1}
            and d_l to z_l.
        activation: their nonlinearity, also used after each d_l, by name.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z_l`` is ``(batch, widths[l - 1])``.

    Raises:
        InputError: if the model is not a hierarchy, or there are fewer than 2 features.
    """

    def __init__(
        self,
        model: object,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        features: int = 200,
        hidden: Sequence[int] = (200,),
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        widths = hierarchy(model, "TopDown").widths
        self.up = BottomUpPass(data_shape, len(widths), features, encoder, hidden, activation)
        self.top = MLP((features,), (2, widths[-1]), hidden=())
        self.between = nn.ModuleList(
            MLP((above + features,), (2, below), hidden, activation)
            for below, above in pairwise(widths)
        )

    def forward(
        self, x: Tensor, size_factor: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Draw z_L, ..., z_1; return z_1, ..., z_L."""
        *below, d = self.up(blanked(self.up, per_unit(x, size_factor), mask))
        with pyro.plate("data", len(x)):
            latents = [pyro.sample(f"z{len(below) + 1}", diagonal(self.top(d)))]
            for layer in range(len(below), 0, -1):
                known = beside(latents[0], 1, below[layer - 1])
                latents.insert(
                    0, pyro.sample(f"z{layer}", diagonal(self.between[layer - 1](known)))
                )
        return tuple(latents)
