"""A variational autoencoder as a scikit-learn estimator.

It fits a table, encodes it, scores rows by log p(x) and draws new ones, and works in pipelines and
grid searches. It prints nothing and leaves no files.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ppvae.errors import InputError
from ppvae.settings import Device, Part, Settings, refusal
from ppvae.settings.values import Whole

if TYPE_CHECKING:  # torch takes seconds to import
    from ppvae.training.trainer import Epoch

type Array = NDArray[Any]
type RandomState = int | np.random.RandomState | None

_NAMES = {
    "n_components": "latent_dim",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "learning_rate": "lr",
}
"""Parameters of the estimator with other names than the settings of a fit."""

_ALIKE = ("prior", "guide", "encoder", "decoder", "elbo", "beta", "batch_size", "device")
"""Parameters with the same names."""


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn states no types
    """A variational autoencoder of a table: p(x, z) with a code z of ``n_components`` numbers.

    Columns are standardized by the training rows, unless all values are in [0, 1]. Missing entries
    (NaN) are integrated out: log p(x) is that of the observed entries. A part of the programs is a
    class name of `ppvae`, a mapping of ``class_path`` and ``init_args``, or a class.

    Args:
        n_components: the number of latent dimensions.
        likelihood: p(x | z); ``"auto"``: Bernoulli for zeros and ones, else Gaussian.
        prior: p(z).
        guide: q(z | x).
        encoder: the network of the guide; by default an MLP of two hidden layers of 200.
        decoder: the network of the model; by default an MLP of three hidden layers of 200. For
            real numbers, the default networks have a shortcut and start at probabilistic PCA.
        elbo: the bound to maximize.
        beta: the weight of the KL in it.
        max_iter: passes over the training rows; default 100, or for few rows enough for 400 steps,
            at most 400.
        n_iter_no_change: stop after this many passes without a better bound on the validation rows;
            default never. The best weights are kept in any case.
        batch_size: rows per step.
        learning_rate: initial learning rate of Adam; it decays along a cosine.
        n_samples: importance samples per log p(x), from the next fit on.
        validation_fraction: share of the rows that select the best weights, and with which
            `p_value` compares; at least one row.
        device: auto, cpu, cuda or mps. The fitted programs are kept on the CPU.
        random_state: seed of the split of the rows, initial weights, order, and all noise.
        verbose: print a line for each pass with an evaluation.

    Attributes:
        n_iter_: passes over the training rows.
        validation_scores_: log p(x) of the validation rows, ascending; empty for a point mass,
            which has none.
        model_: the fitted model, a Pyro program in double precision.
        guide_: the fitted guide, in double precision too.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if all are strings.

    Example::

        from sklearn.pipeline import make_pipeline

        embed_and_classify = make_pipeline(VAE(n_components=8), LogisticRegression())
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        likelihood: Part = "Gaussian",
        prior: Part = "StandardNormal",
        guide: Part = "MeanField",
        encoder: Part = None,
        decoder: Part = None,
        elbo: Part = "TraceMeanField_ELBO",
        beta: float = 1.0,
        max_iter: int | None = None,
        n_iter_no_change: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        n_samples: int = 100,
        validation_fraction: float = 0.1,
        device: Device = "auto",
        random_state: RandomState = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.prior = prior
        self.guide = guide
        self.encoder = encoder
        self.decoder = decoder
        self.elbo = elbo
        self.beta = beta
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_samples = n_samples
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the model and its guide to the rows of ``X``; ``y`` is ignored.

        Raises:
            InputError: a `ValueError` for invalid input, with the way out.
        """
        from ppvae.training.climbing import climb
        from ppvae.training.fitted_table import FittedTable

        x = self._checked(X, reset=True)
        self._samples = _count("n_samples", self.n_samples)
        self._seed = _seed(self.random_state)
        train, valid = self._divided(x)
        with _own_names():
            climbed = climb(self._settings(train, valid), self._tell)
        self._fitted = FittedTable(climbed)
        self.model_, self.guide_ = map(climbed.pair.program, ("model", "guide"))
        self.n_iter_ = climbed.epochs
        self._n_features_out = self._fitted.width
        has_scores = self._fitted.has_evidence
        self.validation_scores_ = np.sort(self._scores(valid)) if has_scores else np.empty(0)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """The mean of q(z | x) of each row: ``(rows, n_components)``.

        For a guide without a closed form it is the mean of 128 draws, the same for every row.
        """
        x = self._checked(X)
        return self._fitted.codes(x, seed=self._seed).astype(x.dtype)

    def inverse_transform(self, X: ArrayLike) -> Array:
        """The mean of p(x | z) at each code, in the units of the data: ``(rows, columns)``."""
        check_is_fitted(self)
        codes = check_array(X)
        if codes.shape[1] != self._n_features_out:
            raise InputError(
                f"X has {codes.shape[1]} columns, but a code has {self._n_features_out} numbers; "
                "give the output of `transform`"
            )
        return self._fitted.means(codes, seed=self._seed)

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Array:
        """Draw z ~ p(z) and x ~ p(x | z), in the units of the data: ``(n_samples, columns)``.

        Args:
            n_samples: number of rows.
            random_state: seed of the draws; default that of the estimator, which gives the same
                rows at every call if it is an integer.
        """
        check_is_fitted(self)
        _count("n_samples", n_samples)
        given = self.random_state if random_state is None else random_state
        return self._fitted.draws(n_samples, seed=_seed(given))

    def score_samples(self, X: ArrayLike) -> Array:
        """Log p(x) of each row in nats, in the units of the data: ``(rows,)``.

        It is estimated with ``n_samples`` importance samples, a lower bound in expectation. The
        draws are the same for every row, so a score does not depend on the other rows. For real
        numbers it is a log-density, which may be above 0.
        """
        return self._scores(self._checked(X))

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def p_value(self, X: ArrayLike) -> Array:
        """The p-value of each row, small for an anomaly: ``(rows,)``.

        It is the share of validation rows whose log p(x) is not above that of the row, counting the
        row itself: (1 + #{scores <= score}) / (1 + #scores), a conformal p-value (Vovk et al.,
        2005). A row from the same distribution as the validation rows has a p-value of at most u
        with probability at most u, for every u. Since the validation rows also selected the best
        weights, it is slightly too small.
        """
        scores = self.score_samples(X)
        known = self.validation_scores_
        slack = 1e-9 * (1 + np.abs(scores))  # equal rows have equal scores up to rounding
        return (1 + np.searchsorted(known, scores + slack, "right")) / (1 + len(known))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, X: ArrayLike, *, reset: bool = False) -> Array:
        """``X`` as an array with the columns of the fit."""
        if not reset:
            check_is_fitted(self)
        x = validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )  # fmt: skip
        return cast("Array", x)

    def _divided(self, x: Array) -> tuple[Array, Array]:
        """Training and validation rows."""
        share = self.validation_fraction
        if not 0 < share < 1:
            raise InputError(
                f"`validation_fraction` is {share}; it must be above 0 and below 1, since some "
                "rows select the best weights"
            )
        count = min(max(1, round(share * len(x))), len(x) - 1)
        shuffled = np.random.default_rng(self._seed).permutation(len(x))
        return x[shuffled[count:]], x[shuffled[:count]]

    def _settings(self, train: Array, valid: Array) -> Settings:
        """The parameters as settings of a fit."""
        from ppvae.data import load

        likelihood, seen = self.likelihood, np.concatenate([train, valid])
        if likelihood == "auto":
            is_binary = np.isin(seen[~np.isnan(seen)], (0, 1)).all()
            likelihood = "Bernoulli" if is_binary else "Gaussian"
        parts: list[Any] = [train, valid, valid]
        if np.isnan(seen).any():
            parts = [{"x": x, "mask": ~np.isnan(x)} for x in parts]
        return Settings(
            data=load(tuple(parts), name="X"),
            likelihood=likelihood, seed=self._seed, compile="off",
            **{name: getattr(self, name) for name in _ALIKE},
            **{theirs: getattr(self, own) for own, theirs in _NAMES.items()},
        )  # fmt: skip

    def _scores(self, x: Array) -> Array:
        with _own_names():
            return self._fitted.log_p(x, samples=self._samples, seed=self._seed)

    def _tell(self, epoch: "Epoch") -> None:
        if self.verbose and epoch.valid is not None:
            print(f"epoch {epoch.epoch}, validation objective {epoch.valid.objective:.4f}")


def _seed(random_state: RandomState) -> int:
    """A seed from a random state of scikit-learn."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _count(name: str, value: object) -> int:
    try:
        return Whole(1).checked(value)
    except ValueError as error:
        raise refusal(name, value, error) from error


@contextmanager
def _own_names() -> Iterator[None]:
    """Errors within this context name the parameters of the estimator."""
    own = {theirs: name for name, theirs in _NAMES.items()}
    try:
        yield
    except InputError as error:
        sentence = re.sub(r"`(\w+)", lambda name: f"`{own.get(name[1], name[1])}", str(error))
        raise InputError(sentence) from error
