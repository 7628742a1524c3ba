"""Networks with a shortcut, set so that training starts at probabilistic PCA."""

from typing import Any

import torch
from torch import Tensor

from ppvae.guides import Flow, FullRank, LowRank, MeanField, SemiAmortized
from ppvae.models import VAE
from ppvae.models.likelihoods import Gaussian, Laplace, StudentT
from ppvae.networks import MLP

LIKELIHOODS = (Gaussian, Laplace, StudentT)
"""Those of real numbers, whose first parameter is the location of each element."""

GUIDES = (MeanField, FullRank, LowRank, Flow, SemiAmortized)
"""Those whose encoder gives loc, then log scale, then numbers that bend or correlate z."""

MOST = 1_024
"""Maximum number of elements of x."""

FLOOR = 1e-4
"""Minimum variance of the noise, as a share of that of an element."""

BROKEN = 0.01
"""Factor of weights that would start at 0, where some have no gradient."""


@torch.no_grad()
def start_at_pca(model: Any, guide: Any, examples: Tensor, mask: Tensor | None = None) -> bool:
    """Set decoder and encoder to the map and the posterior of probabilistic PCA.

    Its maximum likelihood is x = W z + mean + noise with W = U (L - s^2 I)^(1/2), for the largest
    eigenvalues L of the covariance, their eigenvectors U, and the mean s^2 of the others (Tipping
    and Bishop, 1999). As the columns of W are orthogonal, the posterior of z is diagonal: loc =
    L^-1 W^T (x - mean), scale = s L^(-1/2). A mean-field guide has it without a gap, so that the
    bound of a `Gaussian` with one variance starts at the log p(x) of PCA. Another likelihood fits
    its marginal to the noise. Missing values count as the mean of their column.

    Args:
        model: the model.
        guide: the guide.
        examples: some data, ``(n, *data_shape)``.
        mask: True where they were observed, like ``examples``.

    Returns:
        Whether it was done: for a `VAE` of at most 1,024 real numbers whose networks are `MLP` with
        a shortcut, and a guide that is a normal or starts from one.
    """
    if type(model) is not VAE or type(guide) not in GUIDES or guide.y_size:
        return False
    decoder, encoder, likelihood = model.decoder, guide.encoder, model.likelihood
    if type(decoder) is not MLP or type(encoder) is not MLP or type(likelihood) not in LIKELIHOODS:
        return False
    weights, reads = decoder.affine, encoder.affine
    latents, elements = model.prior.latent_dim, examples[0].numel()
    count = min(latents, elements - 1, len(examples) - 1)
    if weights is None or reads is None or count < 1 or elements > MOST:
        return False
    x = _filled(examples.flatten(1).cpu(), None if mask is None else mask.flatten(1).cpu())
    # Infinities and constant data have no components; the checks of the data speak of the former.
    if not (bool(x.isfinite().all()) and bool(x.var(0).any())):
        return False
    mean, scales, directions, noise = _pca(x, count)
    w = directions * (scales - noise).sqrt()
    to_loc = w.T / scales.unsqueeze(1)
    log_scale = (noise / scales).log() / 2

    weight, bias = weights
    weight.zero_()
    weight[:elements, :count] = w.to(weight)
    loc = (x - mean) @ to_loc.T
    z = loc + log_scale.exp() * torch.randn(loc.shape).to(loc)
    params = likelihood.fit_marginal((x - z @ w.T).to(examples).view_as(examples), mask)
    assert params is not None
    bias.copy_(params.flatten())

    weight, bias = reads
    weight[2 * latents :] *= BROKEN
    weight[: 2 * latents] = 0
    bias.zero_()
    weight[:count] = to_loc.to(weight)
    bias[:count] = -(to_loc @ mean).to(bias)
    bias[latents : latents + count] = log_scale.to(bias)
    return True


def _filled(x: Tensor, mask: Tensor | None) -> Tensor:
    """The data in double precision, with the mean of a column for its missing values."""
    if mask is None:
        return x.double()
    values = x.double().where(mask, 0.0)
    return values.where(mask, values.sum(0) / mask.sum(0).clamp(min=1))


def _pca(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """Mean, the largest eigenvalues, their eigenvectors as columns, and the variance of noise."""
    from sklearn.decomposition import PCA

    found = PCA(count, random_state=0).fit(x.numpy())
    least = FLOOR * float(x.var(0).mean())
    noise = max(float(found.noise_variance_), least)
    scales = torch.from_numpy(found.explained_variance_).clamp(min=noise)
    return torch.from_numpy(found.mean_), scales, torch.from_numpy(found.components_.T), noise
