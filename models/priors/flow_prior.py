"""A normalizing flow as a prior, for codes of any shape."""

from collections.abc import Sequence

import pyro.distributions as dist

from ppvae.distributions.flows import Autoregressive, FlowKind
from ppvae.models.priors.prior import Prior


class FlowPrior(Prior):
    """``p(z) = N(f(z); 0, I) |det df(z)/dz|``, f an autoregressive flow (Chen et al., 2017).

    It gives the same family of bounds as an inverse autoregressive flow in the guide, with the work
    in the model: a prior scores draws, which takes one pass through each network, and draws only to
    generate, which takes ``latent_dim`` passes. f starts as the identity, and p(z) as N(0, I).

    Args:
        latent_dim: number of latent dimensions.
        kind: the transformation of each element, ``"spline"`` (Durkan et al., 2019) or ``"affine"``
            (Papamakarios et al., 2017). Splines transform z within [-5, 5]; beyond, p(z) has the
            tails of N(0, I).
        transforms: number of layers.
        hidden: width of each hidden layer of each layer's network.

    Raises:
        InputError: for a number below 1, or an unknown kind.
    """

    def __init__(
        self,
        latent_dim: int,
        kind: FlowKind = "spline",
        transforms: int = 3,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__(latent_dim)
        self.flow = Autoregressive(latent_dim, kind=kind, transforms=transforms, hidden=hidden)

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = self.flow()
        return fn
