"""An inverse autoregressive flow: the noise of a mean-field guide, transformed before scaling."""

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

    f is an inverse autoregressive flow (Kingma et al., 2016): each layer transforms eps_d by an
    affine map, or by a spline (Durkan et al., 2019), whose parameters are computed by networks from
    eps_1, ..., eps_{d-1} and h, a further output of the encoder. It starts as the identity, so that
    the guide starts as `MeanField`. The paper scales first; here the flow comes first, so that its
    inputs are of order one, where its splines bend, however narrow the posterior is.

    A draw with its density takes one pass through each network; the density of a given z, needed by
    sticking the landing or annealing, takes ``latent_dim`` passes. The mean has no closed form.

    Args:
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        encoder: makes the network from x to loc, log scale and h: out shape
            ``(2 * latent_dim + context,)``.
        classes, covariates: number of either in y, if the encoder reads y as well.
        kind: the transformation of each element, ``"spline"`` or ``"affine"``.
        transforms: number of layers.
        hidden: width of each hidden layer of each layer's network.
        context: length of h.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z`` is ``(batch, latent_dim)``.

    Raises:
        InputError: for a number below 1, or an unknown kind.
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
