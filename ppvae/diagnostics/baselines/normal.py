"""One normal with a full covariance."""

import numpy as np
import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted, best
from ppvae.diagnostics.baselines.rows import Matrix


def fit_normal(train: Matrix, valid: Matrix, floor: float) -> Fitted:
    """N(x; mean, covariance): the empirical covariance, or a shrunk one if better on ``valid``.

    The shrunk one is that of Ledoit and Wolf (2004). No eigenvalue is below ``floor``.

    Args:
        train: the training rows.
        valid: rows that select one of the two.
        floor: minimum variance in any direction, in squared units of x.
    """
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf

    x = train.x.double().numpy()
    kinds = {"Ledoit and Wolf's": LedoitWolf, "the empirical": EmpiricalCovariance}
    estimates = {name: kind(store_precision=False).fit(x) for name, kind in kinds.items()}
    return best(
        (
            Fitted(f"normal with {name} covariance", _Density(e.location_, e.covariance_, floor))
            for name, e in estimates.items()
        ),
        valid,
    )


class _Density:
    """The log-density of a normal, by the eigenvectors of its covariance.

    Args:
        mean: ``(elements,)``.
        covariance: ``(elements, elements)``.
        floor: minimum of its eigenvalues.
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, floor: float) -> None:
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        self._mean, self._variance = torch.from_numpy(mean), values.clamp(min=floor)
        self._vectors = vectors

    def __call__(self, rows: Matrix) -> Tensor:
        along = (rows.x.double() - self._mean) @ self._vectors
        scale = self._variance.sqrt()
        density: Tensor = torch.distributions.Normal(0.0, scale).log_prob(along).sum(1)
        return density
