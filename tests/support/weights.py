"""Importance weights of programs whose densities are known."""

from torch import Tensor

from ppvae.diagnostics.evidence.log_weights import importance_weights
from tests.support.pca import PCA


def weights(known: PCA, samples: int, seed: int = 0) -> Tensor:
    return importance_weights(known.pair, known.facts, known.rows, samples=samples, seed=seed)
