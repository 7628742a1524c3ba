"""The decoder's last bias, set so that training starts at the marginal distribution of the data."""

from typing import Any

import torch
from torch import Tensor, nn

from ppvae.components.contracts import is_foreign
from ppvae.models import VAE, ConditionalVAE, HierarchicalVAE, SemiSupervisedVAE
from ppvae.models.likelihoods import Likelihood
from ppvae.networks.layers import Feedforward

MODELS = (VAE, ConditionalVAE, HierarchicalVAE, SemiSupervisedVAE)
"""Models of this package that decode latents by a network."""


@torch.no_grad()
def start_at_marginal(
    model: Any, examples: Tensor, mask: Tensor | None = None, size_factor: Tensor | None = None
) -> None:
    """Set the last bias of a model's decoder to the output that its likelihood fits to the data.

    With weights of 0 before it, p(x | z) would be the distribution of each element of x over the
    data (`Likelihood.fit_marginal`). The bias of a convolution is one number for all pixels, for
    which it is their pooled distribution. Parts that are not of this package stay unchanged, except
    a likelihood with its own ``fit_marginal``.

    Args:
        model: the model.
        examples: some data, ``(n, *data_shape)``.
        mask: True where they were observed, like ``examples``.
        size_factor: their size factors, ``(n,)``, if they have any.
    """
    if not isinstance(model, MODELS) or not isinstance(model.decoder, Feedforward):
        return
    likelihood, last = model.likelihood, model.decoder.layers[-1]
    if (
        is_foreign(type(model))
        or is_foreign(type(model.decoder))
        or not _tells(likelihood, size_factor)
    ):
        return
    if isinstance(last, nn.Linear):
        params = _marginal(likelihood, examples, mask, size_factor)
    elif isinstance(last, (nn.Conv2d, nn.ConvTranspose2d)):
        pixels = _pixels(examples)
        each = size_factor
        if each is not None:
            each = each.repeat_interleave(len(pixels) // len(examples))
        params = _marginal(likelihood, pixels, None if mask is None else _pixels(mask), each)
    else:
        return
    if params is not None and last.bias is not None:
        if not isinstance(last, nn.Linear):
            params = params.mean((-2, -1))
        last.bias.copy_(params.flatten())


def _marginal(
    likelihood: Likelihood, x: Tensor, mask: Tensor | None, size_factor: Tensor | None
) -> Tensor | None:
    if size_factor is None:
        return likelihood.fit_marginal(x, mask)
    return likelihood.fit_scaled_marginal(x, size_factor, mask)


def _tells(likelihood: Likelihood, size_factor: Tensor | None) -> bool:
    """Whether a likelihood's fit to marginals is that of its own density, not an inherited one."""
    told = "fit_marginal" if size_factor is None else "fit_scaled_marginal"
    return not is_foreign(type(likelihood)) or told in vars(type(likelihood))


def _pixels(images: Tensor) -> Tensor:
    """Each pixel of ``(n, ..., H, W)`` as an image of one: ``(n * H * W, ..., 1, 1)``."""
    return images.movedim((-2, -1), (1, 2)).flatten(0, 2)[..., None, None]
