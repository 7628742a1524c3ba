"""An inverse autoregressive flow: the mean-field guide's noise, bent before it is scaled."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import AffineTransform

from ppvae.distributions.flows import Autoregressive, FlowKind, NormalizingFlow, zuko
from ppvae.errors import InputError
from ppvae.guides.amortized import Amortized
from ppvae.guides.scales import posterior_scale
from ppvae.networks import MLP, Network, Shape


class Flow(Amortized):
    """z = loc(x) + scale(x) * f(eps; h(x)) with eps ~ N(0, I): q(z | x) of any shape.

    f is an inverse autoregressive flow (Kingma et al., 2016): each layer bends eps_d by a line, or
    by a spline (Durkan et al., 2019), that networks read off eps_1, ..., eps_{d-1} and off h, what
    the encoder has to say beside loc and scale. It starts as the identity, and the guide as
    `MeanField`. The paper scales first; here the flow comes first, so that its numbers are of order
    one, where its splines live, wherever and however narrow the posterior is.

    A draw with its density takes one pass through each network; the density of a given z, as for
    sticking the landing or annealing, ``latent_dim`` passes. There is no mean in closed form.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc, log scale and h: out shape
            ``(2 * latent_dim + context,)``.
        classes, covariates: how many y has, where the encoder reads y beside x.
        kind: what each number is bent by, ``"spline"`` or ``"affine"``.
        transforms: number of layers.
        hidden: width of each hidden layer of each layer's network.
        context: length of h.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: for a number below 1, or a kind that is none.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        encoder: Network | nn.Module = MLP,
        classes: int = 0,
        covariates: int = 0,
        kind: FlowKind = "spline",
        transforms: int = 2,
        hidden: Sequence[int] = (128, 128),
        context: int = 64,
    ) -> None:
        if context < 1:
            raise InputError(f"`guide.context` is {context}; a flow needs at least 1 number of x")
        super().__init__(data_shape, (2 * latent_dim + context,), encoder, classes, covariates)
        self._sizes = (latent_dim, latent_dim, context)
        self.flow = Autoregressive(latent_dim, context, kind, transforms, hidden, inverse=True)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        loc, log_scale, h = self.encode(x, y).split(self._sizes, -1)
        bent = self.flow(h.tanh())
        standardized = AffineTransform(loc, posterior_scale(log_scale), event_dim=1).inv
        return NormalizingFlow(
            zuko().transforms.ComposedTransform(standardized, bent.transform), bent.base
        )
