"""A hierarchy inferred top-down: the model's conditional of each layer, corrected by x."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.guides.hierarchical import BottomUpPass, diagonal, hierarchy
from ppvae.networks import MLP, Network, Shape, per_unit
from ppvae.networks.column_features import blanked
from ppvae.networks.layers import Activation


class Ladder(PyroModule):
    """q(z_1, ..., z_L | x) = q(z_L | x) prod_l q(z_l | z_{l+1}, x) (Sønderby et al., 2016).

    A deterministic bottom-up pass, d_1(x), ..., d_L(x), gives a diagonal normal for each layer. The
    top layer is drawn from its own; below, q(z_l | z_{l+1}, x) is proportional to the product
    N(z_l; d_l) p(z_l | z_{l+1}) with the model's conditional, see `product`. That is the form of
    the exact posterior, in which x enters as a likelihood of z_l. The networks of p belong to the
    model; the guide calls them, so that its gradients train them too.

    It draws in the model's order, so that each layer's KL is in closed form. The paper normalizes
    batches; here each d_l is normalized over its own numbers, as otherwise the guide of a datum
    would depend on the others. Use ``warm_up`` too, as the paper does: with the full weight of the
    KL from the start, the posterior collapses.

    Args:
        model: the hierarchy, whose p(z_l | z_{l+1}) it shares; it is referenced, not owned.
        data_shape: shape of one datum.
        encoder: makes the network from x to d_1: out shape ``(features,)``.
        features: numbers in each d_l.
        hidden: width of each hidden layer of the networks from d_l to d_{l+1}.
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
        # In a tuple, so that its networks have one owner, and one name in a checkpoint.
        self._model = (hierarchy(model, "Ladder"),)
        widths = self._model[0].widths
        self.up = BottomUpPass(data_shape, len(widths), features, encoder, hidden, activation)
        self.heads = nn.ModuleList(MLP((features,), (2, width), hidden=()) for width in widths)

    def forward(
        self, x: Tensor, size_factor: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Draw z_L, ..., z_1; return z_1, ..., z_L."""
        (model,) = self._model
        up = self.up(blanked(self.up, per_unit(x, size_factor), mask))
        *below, top = (diagonal(head(d)) for head, d in zip(self.heads, up, strict=True))
        with pyro.plate("data", len(x)):
            latents = [pyro.sample(f"z{len(below) + 1}", top)]
            for layer in range(len(below), 0, -1):
                fn = product(below[layer - 1], model.conditional(layer, latents[0]))
                latents.insert(0, pyro.sample(f"z{layer}", fn))
        return tuple(latents)


def product(a: dist.TorchDistribution, b: dist.TorchDistribution) -> dist.TorchDistribution:
    """The normal proportional to a product of two diagonal normals: precisions add.

    1 / scale^2 = 1 / s_a^2 + 1 / s_b^2, and loc = scale^2 (loc_a / s_a^2 + loc_b / s_b^2), computed
    without inverses, which overflow first.
    """
    spread = a.variance + b.variance
    loc = b.mean + b.variance / spread * (a.mean - b.mean)
    scale = a.stddev * b.stddev / spread.sqrt()
    fn: dist.TorchDistribution = dist.Normal(loc, scale).to_event(1)
    return fn
