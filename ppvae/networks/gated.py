"""The multilayer perceptron with gates, in which a second map scales each unit."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from ppvae.networks.layers import Feedforward, check_widths
from ppvae.networks.network import Shape


class GatedMLP(Feedforward):
    """h_{l+1} = (W_l h_l + b_l) * sigmoid(V_l h_l + c_l), linear at the end (Dauphin et al., 2017).

    A unit with an open gate is linear, so that gradients pass through it unshrunk. It is the
    network of the VampPrior paper (Tomczak and Welling, 2018), with its widths as defaults. W_l
    and V_l are one matrix, W_l above V_l, so that a layer is one product.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: shape of one output.
        hidden: width of each hidden layer; none makes the map affine.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if a width is below 1.

    Example::

        model = VAE(StandardNormal(40), Bernoulli((1, 28, 28)), GatedMLP)
        guide = MeanField(40, (1, 28, 28), partial(GatedMLP, hidden=(300, 300)))
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, hidden: Sequence[int] = (300, 300)
    ) -> None:
        check_widths("hidden", hidden)
        widths = [prod(in_shape), *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, 2 * b), nn.GLU()]
        layers.append(nn.Linear(widths[-1], prod(out_shape)))
        super().__init__(in_shape, (widths[0],), out_shape, layers)
