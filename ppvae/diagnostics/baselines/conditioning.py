"""Baselines conditional on labels and covariates, like the programs."""

from collections.abc import Callable

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.errors import InputError

LEAST = 10
"""Minimum number of training rows per class; for independent elements, 1."""

type Fit = Callable[[Matrix, Matrix], Fitted]
"""A function that fits a baseline to training rows and selects its sizes on others."""


def by_class(fit: Fit, least: int = LEAST) -> Fit:
    """p(x | y): the baseline fitted to each class.

    A class without validation rows has the simplest of its sizes.

    Raises:
        InputError: on fitting, for a class with fewer than ``least`` training rows.
    """

    def fit_each(train: Matrix, valid: Matrix) -> Fitted:
        labels, held_out = _known(train.y), _known(valid.y)
        each: dict[int, Fitted] = {}
        for label in labels.unique().tolist():
            own, other = train.where(labels == label), valid.where(held_out == label)
            if len(own.numbers.unique()) < least:
                raise InputError(
                    f"it is fitted to each class, but class {label} has fewer than {least} "
                    "training rows"
                )
            each[label] = fit(own, other)

        def log_prob(rows: Matrix) -> Tensor:
            told = _known(rows.y)
            found = torch.full((len(rows),), -torch.inf, dtype=torch.float64)
            for label, fitted in each.items():
                if bool((mine := told == label).any()):
                    found[mine] = fitted.log_prob(rows.where(mine)).double()
            return found

        first = next(iter(each.values())).about
        return Fitted(f"{first} in the first of {len(each)} classes, and so on", log_prob)

    return fit_each


def with_frequency(fit: Fit) -> Fit:
    """p(x) p(y): the baseline, and y by its frequency among known training labels."""

    def fit_both(train: Matrix, valid: Matrix) -> Fitted:
        fitted, labels = fit(train, valid), _known(train.y)
        classes = 1 + int(max(labels.max(), _known(valid.y).max()))
        counts = torch.bincount(labels[labels >= 0], minlength=classes) + 1.0
        log_share = (counts / counts.sum()).log()

        def log_prob(rows: Matrix) -> Tensor:
            told = _known(rows.y)
            return fitted.log_prob(rows) + log_share[told.clamp(min=0)].where(told >= 0, 0)

        return Fitted(f"{fitted.about}; y by its frequency", log_prob)

    return fit_both


def given_covariates(fit: Fit) -> Fit:
    """p(x | y): the baseline of the residuals of a linear regression of x on y."""

    def fit_rest(train: Matrix, valid: Matrix) -> Fitted:
        from sklearn.linear_model import LinearRegression

        if train.observed is not None:
            raise InputError("a linear regression on the covariates needs complete rows of x")
        line = LinearRegression().fit(_columns(train.y), train.x.double().numpy())

        def rest(rows: Matrix) -> Matrix:
            expected = torch.from_numpy(line.predict(_columns(rows.y)))
            return rows.of((rows.x.double() - expected).to(rows.x.dtype))

        fitted = fit(rest(train), rest(valid))
        about = f"{fitted.about}, of the residuals of a linear regression on y"
        return Fitted(about, lambda rows: fitted.log_prob(rest(rows)))

    return fit_rest


def untold(fit: Fit) -> Fit:
    """p(x): the baseline without y, though the model has it."""

    def fit_untold(train: Matrix, valid: Matrix) -> Fitted:
        fitted = fit(train, valid)
        return Fitted(f"{fitted.about}, without y", fitted.log_prob)

    return fit_untold


def _known(y: Tensor | None) -> Tensor:
    if y is None:
        raise InputError("the data have no labels")
    return y.long()


def _columns(y: Tensor | None) -> object:
    if y is None:
        raise InputError("the data have no covariates")
    return y.reshape(len(y), -1).double().numpy()
