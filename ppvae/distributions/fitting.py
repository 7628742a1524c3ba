"""Densities fitted to points without gradients: a mixture of normals, by EM."""

import warnings

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.batch_mixture import BatchMixture


def fit_normals(
    z: Tensor, components: int, seed: int = 0, *, iterations: int = 100
) -> BatchMixture:
    """A mixture of normals with full covariances, fitted by EM from a k-means start.

    Args:
        z: the points, ``(points, dimensions)``.
        components: number of normals, at most the number of points.
        seed: of the start.
        iterations: largest number of EM steps.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    # The fit's floor on variances is absolute, and z may have any scale: standardize it.
    z = z.double()
    loc, scale = z.mean(0), z.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    model = GaussianMixture(components, max_iter=iterations, random_state=seed % 2**32)
    # Matrices of the latents' size are too small for several threads.
    with warnings.catch_warnings(), threadpool_limits(1):
        # A fit that has not converged, or found fewer clusters, is still a density, and is judged
        # on data that it was not fitted to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(((z - loc) / scale).numpy())
    weights, means, covariances = map(
        torch.from_numpy, (model.weights_, model.means_, model.covariances_)
    )
    root = scale[:, None] * torch.linalg.cholesky(covariances)
    normals = dist.MultivariateNormal(loc + scale * means, scale_tril=root)
    return BatchMixture(normals, weights.log())
