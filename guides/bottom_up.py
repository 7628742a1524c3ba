"""A hierarchy inferred bottom-up: first the layer next to x, then each layer from the one below."""

from collections.abc import Sequence
from itertools import pairwise

import pyro
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.guides.hierarchical import diagonal, hierarchy
from ppvae.networks import MLP, Network, Shape, build, per_unit
from ppvae.networks.column_features import blanked
from ppvae.networks.layers import Activation


class BottomUp(PyroModule):
    """q(z_1, ..., z_L | x) = q(z_1 | x) q(z_2 | z_1) ... q(z_L | z_{L-1}) (Burda et al., 2016).

    Each factor is a diagonal normal, as in `MeanField`. It draws in the reverse order of the model,
    p(z_1 | z_2) with q(z_2 | z_1), so that the KL is no sum of closed forms: use ``Trace_ELBO`` or
    importance weights; ``TraceMeanField_ELBO`` is refused.

    Args:
        model: the hierarchy, which has the dimensions of each layer.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc and log scale of z_1: out shape ``(2, widths[0])``.
        hidden: width of each hidden layer of the networks between latents.
        activation: their nonlinearity, by name.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z_l`` is ``(batch, widths[l - 1])``.

    Raises:
        InputError: if the model is not a hierarchy.
    """

    def __init__(
        self,
        model: object,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        hidden: Sequence[int] = (200,),
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        widths = hierarchy(model, "BottomUp").widths
        self.encoder = build(encoder, data_shape, (2, widths[0]), "encoder")
        self.between = nn.ModuleList(
            MLP((below,), (2, above), hidden, activation) for below, above in pairwise(widths)
        )

    def forward(
        self, x: Tensor, size_factor: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Draw and return z_1, ..., z_L."""
        read = blanked(self.encoder, per_unit(x, size_factor), mask)
        with pyro.plate("data", len(x)):
            latents = [pyro.sample("z1", diagonal(self.encoder(read)))]
            for layer, network in enumerate(self.between, start=2):
                latents.append(pyro.sample(f"z{layer}", diagonal(network(latents[-1]))))
        return tuple(latents)
