"""Networks with a shortcut, set so that training starts at probabilistic PCA."""

import math
from typing import Any

import numpy as np
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

FOLDS = 4
"""Parts of the data, each held out once to choose the number of components."""


@torch.no_grad()
def start_at_pca(model: Any, guide: Any, examples: Tensor, mask: Tensor | None = None) -> bool:
    """Set decoder and encoder to the map and the posterior of probabilistic PCA.

    Its maximum likelihood is x = W z + mean + noise with W = U (L - s^2 I)^(1/2), for the largest
    eigenvalues L of the covariance, their eigenvectors U, and the mean s^2 of the others (Tipping
    and Bishop, 1999). As the columns of W are orthogonal, the posterior of z is diagonal: loc =
    L^-1 W^T (x - mean), scale = s L^(-1/2). A mean-field guide has it without a gap, so that the
    bound of a `Gaussian` with one learned variance starts at the log p(x) of PCA. Another
    likelihood fits its marginal to the noise; s^2 is its variance, which may be a given number.

    There are as many components as latents, or fewer if held-out data speak for fewer; the other
    latents start at the prior. Missing values count as the mean of their column.

    Args:
        model: the model.
        guide: the guide.
        examples: some data, ``(n, *data_shape)``.
        mask: True where they were observed, like ``examples``.

    Returns:
        Whether it was done: for a `VAE` with one of `LIKELIHOODS`, one of `GUIDES` and networks
        that are `MLP` with a shortcut, and data that have a component.
    """
    if type(model) is not VAE or type(guide) not in GUIDES or guide.y_size:
        return False
    decoder, encoder, likelihood = model.decoder, guide.encoder, model.likelihood
    if type(decoder) is not MLP or type(encoder) is not MLP or type(likelihood) not in LIKELIHOODS:
        return False
    weights, reads = decoder.affine, encoder.affine
    latents, elements = model.prior.latent_dim, examples[0].numel()
    if weights is None or reads is None or elements > MOST:
        return False
    x = _filled(examples.flatten(1).cpu(), None if mask is None else mask.flatten(1).cpu())
    # The checks of the data speak of infinities.
    count = _components(x, latents) if bool(x.isfinite().all()) else 0
    if not count:
        return False
    pca = _fitted(x, count)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_.T)
    scales, noise = _variances(x, pca)

    w, loc, log_scale = _maps(directions, scales[:count], noise[count - 1])
    code = (x - mean) @ loc.T
    z = code + log_scale.exp() * torch.randn(code.shape).to(code)
    params = likelihood.fit_marginal((x - z @ w.T).to(examples).view_as(examples), mask)
    assert params is not None
    variance = likelihood(params).variance.double().mean().cpu()
    if 0 < variance < math.inf:
        w, loc, log_scale = _maps(directions, scales[:count], variance)

    weight, bias = weights
    weight.zero_()
    weight[:elements, :count] = w.to(weight)
    bias.copy_(params.flatten())
    weight, bias = reads
    weight[2 * latents :] *= BROKEN
    weight[: 2 * latents] = 0
    bias.zero_()
    weight[:count] = loc.to(weight)
    bias[:count] = -(loc @ mean).to(bias)
    bias[latents : latents + count] = log_scale.to(bias)
    return True


def _maps(directions: Tensor, scales: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W, the map from x - mean to loc, and log scale, for eigenvalues and a variance of noise.

    A component below the noise has a W of 0, and the prior as its posterior.
    """
    scales = scales.clamp(min=noise)
    w = directions * (scales - noise).sqrt()
    return w, w.T / scales.unsqueeze(1), (noise / scales).log() / 2


def _filled(x: Tensor, mask: Tensor | None) -> Tensor:
    """The data in double precision, with the mean of a column for its missing values."""
    if mask is None:
        return x.double()
    values = x.double().where(mask, 0.0)
    return values.where(mask, values.sum(0) / mask.sum(0).clamp(min=1))


def _components(x: Tensor, most: int) -> int:
    """The largest number of components, up to ``most``, that held-out data do not speak against.

    Each fold of the data is held out once. A number counts as worse than the best one if it is so
    by more than two standard errors, paired by datum: a few outliers decide nothing.
    """
    folds = torch.arange(len(x)) % FOLDS
    least = len(x) - int((folds == 0).sum())
    most = min(most, x.shape[1] - 1, least - 1)
    if most < 1:
        return 0
    deviance = torch.cat([_deviance(x[folds != i], x[folds == i], most) for i in range(FOLDS)])
    worse = deviance - deviance[:, deviance.mean(0).argmin(), None]
    is_fine = worse.mean(0) <= 2 * worse.std(0) / math.sqrt(len(worse))
    return int(is_fine.nonzero().max()) if bool(deviance.isfinite().all()) else 0


def _deviance(train: Tensor, test: Tensor, most: int) -> Tensor:
    """-2 log p of test data under 0, 1, ... components, up to a constant: ``(n, most + 1)``."""
    pca = _fitted(train, most)
    scales, noise = _variances(train, pca)
    off = test - torch.from_numpy(pca.mean_)
    along = (off @ torch.from_numpy(pca.components_.T)).square()
    total, elements = off.square().sum(1, keepdim=True), train.shape[1]
    left = elements - torch.arange(1, most + 1)
    across = (total - along.cumsum(1)) / noise + left * noise.log()
    within = (along / scales + scales.log()).cumsum(1)
    variance = train.var(0).mean()
    return torch.cat([total / variance + elements * variance.log(), within + across], 1)


def _fitted(x: Tensor, count: int) -> Any:
    from sklearn.decomposition import PCA

    with np.errstate(invalid="ignore"):  # constant data have no shares of variance
        return PCA(count, svd_solver="full").fit(x.numpy())


def _variances(x: Tensor, pca: Any) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, and the noise of each number of components: the mean of the others.

    scikit-learn's own noise is another if there are fewer rows than columns.
    """
    total, elements = x.var(0).sum(), x.shape[1]
    scales = torch.from_numpy(pca.explained_variance_).double()
    left = elements - torch.arange(1, len(scales) + 1)
    noise = ((total - scales.cumsum(0)) / left).clamp(min=FLOOR * float(total) / elements)
    return scales.clamp(min=noise), noise
