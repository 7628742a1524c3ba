"""Probabilistic PCA with a guide wider than the posterior: weights that vary, and errors."""

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from ppvae import data
from ppvae.bounds.audit import audit
from ppvae.data import Split
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from tests.support.pca import AFFINE, affine

COLUMNS, LATENT, VARIANCE = 4, 2, 0.5
SIGMAS = 5.0


def split(n: int = 40) -> Split:
    x = torch.randn(2 * n, COLUMNS, generator=torch.Generator().manual_seed(3))
    return data.from_arrays(x.numpy()).train


def whole(rows: Split) -> dict[str, Tensor]:
    return rows.take(torch.arange(len(rows)))


def pca(rows: Split) -> tuple[Pair, Audit]:
    """Probabilistic PCA, and a guide with the posterior's mean and too large a variance."""
    torch.manual_seed(1)
    model = VAE(StandardNormal(LATENT), Gaussian((COLUMNS,), variance=VARIANCE), AFFINE)
    guide = MeanField(LATENT, (COLUMNS,), AFFINE)
    decoder, encoder = affine(model.decoder), affine(guide.encoder)
    with torch.no_grad():
        w, b = decoder.weight, decoder.bias
        covariance = torch.linalg.inv(torch.eye(LATENT) + w.T @ w / VARIANCE)
        gain = covariance @ w.T / VARIANCE
        encoder.weight.zero_()
        encoder.weight[:LATENT] = gain
        encoder.bias[:LATENT] = -gain @ b
        encoder.bias[LATENT:] = 0.5 * covariance.diagonal().log() + 0.2
    batch = whole(rows)
    pair = Pair(model.double(), guide.double(), batch)
    return pair, audit(pair, TraceMeanField_ELBO, batch)
