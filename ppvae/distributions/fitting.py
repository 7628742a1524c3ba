"""Densities fitted to points in closed steps, with no gradient: a mixture of normals, by EM."""

import warnings

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.batch_mixture import BatchMixture


def fit_normals(
    z: Tensor, components: int, seed: int = 0, *, iterations: int = 100
) -> BatchMixture:
    """A mixture of normals with full covariances, as likely as EM finds it, started from k-means.

    Args:
        z: the points, ``(points, dimensions)``.
        components: number of normals, at most that of points.
        seed: of the start.
        iterations: of EM, at most.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    # The fit's floor on variances is in units of z, which are the prior's own affair, or nobody's.
    z = z.double()
    loc, scale = z.mean(0), z.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    model = GaussianMixture(components, max_iter=iterations, random_state=seed % 2**32)
    # Products with matrices of the latents' size are too small to share among threads.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A fit that has not converged, or that has fewer clusters than asked for, is a density all
        # the same, and is judged on data that it was not fitted to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(((z - loc) / scale).numpy())
    weights, means, covariances = map(
        torch.from_numpy, (model.weights_, model.means_, model.covariances_)
    )
    root = scale[:, None] * torch.linalg.cholesky(covariances)
    normals = dist.MultivariateNormal(loc + scale * means, scale_tril=root)
    return BatchMixture(normals, weights.log())
