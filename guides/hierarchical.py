"""Shared parts of guides with several latents: the model's layers, and a bottom-up pass."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import pyro.distributions as dist
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape, build
from ppvae.networks.layers import ACTIVATIONS, Activation


@runtime_checkable
class Hierarchy(Protocol):
    """A model whose latents are a chain from ``"zL"``, the top, down to ``"z1"``, next to x."""

    @property
    def widths(self) -> Sequence[int]:
        """Dimensions of z_1, ..., z_L."""

    def conditional(self, layer: int, above: Tensor) -> dist.TorchDistribution:
        """p(z_l | z_{l+1}) for l = ``layer`` < L, at z_{l+1} = ``above``."""


def hierarchy(model: object, guide: str) -> Hierarchy:
    """The model as a hierarchy.

    Raises:
        InputError: if it is not one; ``guide`` is the name of the guide.
    """
    if isinstance(model, Hierarchy):
        return model
    name = getattr(model, "__name__", type(model).__name__)
    raise InputError(
        f"`guide={guide!r}` infers the latents of several layers, and the model {name} has no "
        "'widths' and 'conditional(layer, above)'; take "
        "`model='HierarchicalVAE'`, or for one latent `guide='MeanField'`"
    )


def diagonal(numbers: Tensor) -> dist.TorchDistribution:
    """N(loc, diag scale^2) from loc and log scale, ``(..., 2, width)``."""
    loc, log_scale = numbers.unbind(-2)
    fn: dist.TorchDistribution = dist.Normal(loc, posterior_scale(log_scale)).to_event(1)
    return fn


class BottomUpPass(nn.Module):
    """A deterministic bottom-up pass, with features for each layer: d_1 = f(x), d_l = f(d_{l-1}).

    Each d is normalized over its own numbers, where Sønderby et al. (2016) normalize over a batch:
    without it so little of x is left after a few layers that upper latents collapse.

    Args:
        data_shape: shape of one datum.
        layers: L, the number of outputs d.
        features: numbers in each d.
        encoder: makes the network from x to d_1.
        hidden: width of each hidden layer of the networks from one d to the next.
        activation: their nonlinearity, also used after each d, by name.

    Raises:
        InputError: if there are fewer than 2 features.

    Shapes: ``(..., *data_shape)`` to a list of L, ``(..., features)`` each.
    """

    def __init__(
        self,
        data_shape: Shape,
        layers: int,
        features: int,
        encoder: Network | nn.Module,
        hidden: Sequence[int],
        activation: Activation,
    ) -> None:
        if features < 2:
            raise InputError(
                f"`guide.features` is {features}; it must be at least 2, as features are normalized"
            )
        super().__init__()
        size = (features,)
        first = build(encoder, data_shape, size, "encoder")
        above = [MLP(size, size, hidden, activation) for _ in range(layers - 1)]
        self.networks = nn.ModuleList([first, *above])
        norm = nn.LayerNorm(features, elementwise_affine=False)
        self.activation = nn.Sequential(norm, ACTIVATIONS[activation]())

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [x]
        for network in self.networks:
            outputs.append(self.activation(network(outputs[-1])))
        return outputs[1:]
