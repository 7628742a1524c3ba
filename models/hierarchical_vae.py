"""A hierarchy of latents: each layer is drawn given the one above, and the lowest is decoded."""

from collections.abc import Sequence
from itertools import pairwise

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.models.likelihoods import Likelihood
from ppvae.models.observation import observe
from ppvae.models.priors import Prior
from ppvae.networks import MLP, Network, build, positive
from ppvae.networks.layers import Activation, check_widths


class HierarchicalVAE(PyroModule):
    """p(x, z_1, ..., z_L) = p(z_L) p(z_{L-1} | z_L) ... p(z_1 | z_2) p(x | z_1).

    Below the prior each layer is p(z_l | z_{l+1}) = N(loc(z_{l+1}), diag scale(z_{l+1})^2). It is a
    Markov chain: nothing skips a layer, and x is decoded from z_1 alone (Burda et al., 2016;
    Sønderby et al., 2016). With ``skips`` x is decoded from all of them, p(x | z_1, ..., z_L), so
    that the information of an upper layer need not pass through the noise of those below (Tomczak
    and Welling, 2018). Batch normalization, which would couple data and make the density depend on
    the batch, is not used: ``warm_up`` keeps upper layers in use.

    The sites are ``"z1"``, next to x, to ``"zL"``, the prior's. By default each layer is twice as
    wide as the one above: with a prior of 50 dimensions and two layers the widths are 100 and 50,
    with one of 4 and five layers 64 to 4, as published.

    Args:
        prior: p(z_L).
        likelihood: p(x | z_1).
        decoder: makes the network from z_1, or all layers, to the parameters of the likelihood.
        layers: L, 2 or more; default: as many as ``widths``, or 2.
        widths: dimensions of z_1, ..., z_L, the last being the prior's.
        hidden: width of each hidden layer of the networks between latents.
        activation: their nonlinearity, by name.
        skips: decode x from all layers, concatenated, instead of z_1 alone.

    Shapes: ``x`` is ``(batch, *data_shape)``; ``z_l`` is ``(batch, widths[l - 1])``; ``mask``,
    where entries of x are missing, is like x; ``size_factor``, the optional factor of the mean of
    counts, is ``(batch,)``.

    Raises:
        InputError: for a single layer, or widths that do not match ``layers`` or the prior.

    Example::

        model = HierarchicalVAE(StandardNormal(50), Bernoulli((1, 28, 28)), widths=(100, 50))
        guide = Ladder(model, (1, 28, 28))
    """

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        decoder: Network | nn.Module = MLP,
        layers: int | None = None,
        widths: Sequence[int] = (),
        hidden: Sequence[int] = (200,),
        activation: Activation = "silu",
        skips: bool = False,
    ) -> None:
        super().__init__()
        self.skips = skips
        self.widths = _widths(prior.latent_dim, layers, widths)
        self.prior = prior
        self.likelihood = likelihood
        self.between = nn.ModuleList(
            MLP((above,), (2, below), hidden, activation) for below, above in pairwise(self.widths)
        )
        in_shape = (sum(self.widths) if skips else self.widths[0],)
        self.decoder = build(decoder, in_shape, likelihood.decoder_shape, "decoder")

    def conditional(self, layer: int, above: Tensor) -> dist.TorchDistribution:
        """p(z_l | z_{l+1}) for l = ``layer`` < L, at z_{l+1} = ``above``.

        Shapes: ``above`` is ``(..., widths[l])``; the batch shape is ``(...)``, the event shape
        ``(widths[l - 1],)``.
        """
        loc, log_scale = self.between[layer - 1](above).unbind(-2)
        fn: dist.TorchDistribution = dist.Normal(loc, positive(log_scale)).to_event(1)
        return fn

    def forward(
        self, x: Tensor, mask: Tensor | None = None, size_factor: Tensor | None = None
    ) -> Tensor:
        top = len(self.widths)
        with pyro.plate("data", len(x)):
            latents = [pyro.sample(f"z{top}", self.prior())]
            for layer in range(top - 1, 0, -1):
                latents.insert(0, pyro.sample(f"z{layer}", self.conditional(layer, latents[0])))
            z = torch.cat(latents, -1) if self.skips else latents[0]
            return observe(x, self.likelihood(self.decoder(z)), mask, size_factor)


def _widths(top: int, layers: int | None, widths: Sequence[int]) -> tuple[int, ...]:
    """Dimensions of z_1, ..., z_L under a prior of ``top`` dimensions."""
    count = layers if layers is not None else len(widths) or 2
    if count < 2:
        setting = (
            f"`model.widths` is {list(widths)}" if layers is None else f"`model.layers` is {layers}"
        )
        raise InputError(
            f"{setting}; HierarchicalVAE has at least 2 layers: for one take `model='VAE'`"
        )
    if not widths:
        return tuple(top * 2**up for up in reversed(range(count)))
    check_widths("`model.widths`", widths)
    if len(widths) != count:
        raise InputError(
            f"`model.widths` is {list(widths)} and `model.layers` is {layers}; give a width for "
            "each layer, from z1 to the top, or leave out one of the two"
        )
    if widths[-1] != top:
        raise InputError(
            f"`model.widths` is {list(widths)}, and the prior, which is that of the last layer, "
            f"has {top} dimensions; give `latent_dim={widths[-1]}`, or other widths"
        )
    return tuple(widths)
