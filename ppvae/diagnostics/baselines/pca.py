"""Probabilistic PCA: the linear Gaussian model with the same number of latents."""

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.rows import Matrix


def fit_pca(train: Matrix, latents: int, floor: float) -> Fitted:
    """Maximum likelihood of x = W z + mean + noise, z and noise normal (Tipping and Bishop, 1999).

    It is the optimum of a variational autoencoder with a linear decoder and one variance.

    Args:
        train: the training rows.
        latents: dimensions of z; at most those of x minus one.
        floor: minimum variance of the noise, in squared units of x.
    """
    from sklearn.decomposition import PCA

    x = train.x.double().numpy()
    count = min(latents, x.shape[1] - 1, x.shape[0] - 1)
    model = PCA(count).fit(x)
    model.noise_variance_ = max(model.noise_variance_, floor)

    def log_prob(rows: Matrix) -> Tensor:
        return torch.from_numpy(model.score_samples(rows.x.double().numpy()))

    return Fitted(f"probabilistic PCA of {count}", log_prob)
