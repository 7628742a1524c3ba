"""Mixtures of normals."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted, best
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.errors import InputError

COMPONENTS = (2, 3, 5, 8, 12, 20)
"""Numbers of components to try, while the validation score improves."""

ROWS = 8
"""Minimum number of training rows per component."""

WORK = 5e9
"""Maximum of multiplications per iteration times the number of components."""


def fit_mixture_of_normals(train: Matrix, valid: Matrix, floor: float, seed: int) -> Fitted:
    """A mixture by EM; type of covariance and number of components are selected on ``valid``.

    Args:
        train: the training rows.
        valid: rows for the selection.
        floor: added to each variance, in squared units of x.
        seed: seed of the start.

    Raises:
        InputError: if no size can be tried: too few rows, or too many elements.
    """
    found = []
    for kind in ("diag", "full"):
        sizes = [k for k in COMPONENTS if _is_feasible(kind, k, train)]
        if sizes:
            found.append(best(_mixtures(kind, sizes, train, floor, seed), valid))
    if not found:
        raise InputError(
            f"{train.x.shape[0]:,} rows of {train.x.shape[1]:,} elements are too few for a "
            "mixture, or would take too long"
        )
    return best(found, valid)


def _is_feasible(kind: str, components: int, train: Matrix) -> bool:
    rows, elements = train.x.shape
    width = elements if kind == "full" else 1
    # Each component with a full covariance needs at least as many rows as elements.
    is_told = rows >= components * max(ROWS, 2 * elements if kind == "full" else 0)
    return is_told and 100 * rows * components * elements * width <= WORK


def _mixtures(
    kind: str, sizes: list[int], train: Matrix, floor: float, seed: int
) -> Iterator[Fitted]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = train.x.double().numpy()
    for components in sizes:
        model = GaussianMixture(
            components, covariance_type=kind, reg_covar=floor, random_state=seed % 2**32
        )
        with warnings.catch_warnings():
            # One that has not converged is still a density, and is scored on other rows.
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                model.fit(x)
            except ValueError as error:  # scikit-learn raises it for a singular covariance
                raise InputError(f"a mixture of {components} normals: {error}") from error

        def log_prob(rows: Matrix, model: GaussianMixture = model) -> Tensor:
            return torch.from_numpy(model.score_samples(rows.x.double().numpy()))

        covariances = {"diag": "diagonal", "full": "full"}[kind]
        yield Fitted(f"mixture of {components} normals with {covariances} covariances", log_prob)
