"""Applicable baselines, by the support and values of x, never by the name of a class.

=========== ===================================================================================
x           baselines
=========== ===================================================================================
any         ``independent``: independent elements of the likelihood's own family
continuous  ``pca``: probabilistic PCA; ``normal``: full covariance; ``mixture``: of normals
zeros, ones ``mixture``: of Bernoullis
grey levels ``histogram``: of each element
counts      ``negative_binomial``: of each element; where they end, ``histogram``
columns     ``independent`` alone: each column of a mixed table by its own family
=========== ===================================================================================

Integers under a continuous likelihood also have those of counts or grey levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data import Scaling
from ppvae.diagnostics.baselines.comparison import Measure
from ppvae.diagnostics.baselines.conditioning import Fit
from ppvae.diagnostics.baselines.families import Family, family_of
from ppvae.diagnostics.baselines.fitted import Fitted
from ppvae.diagnostics.baselines.histogram import fit_histograms
from ppvae.diagnostics.baselines.independent import fit_independent
from ppvae.diagnostics.baselines.mixture_of_bernoullis import fit_mixture_of_bernoullis
from ppvae.diagnostics.baselines.mixture_of_normals import fit_mixture_of_normals
from ppvae.diagnostics.baselines.normal import fit_normal
from ppvae.diagnostics.baselines.pca import fit_pca
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.diagnostics.baselines.whole_numbers import Steps
from ppvae.distributions.continuous_bernoulli import ContinuousBernoulli
from ppvae.distributions.grid import Grid
from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.per_column import Columnwise, PerColumn
from ppvae.distributions.support import elements_of, ends_of, in_words
from ppvae.programs.sites import base

ELEMENTS = 1_024
"""Maximum number of elements of x for a baseline with a full covariance."""

FLOOR = 1e-4
"""Minimum variance of a continuous baseline, as a share of the mean variance of x."""

LEVELS = 256
"""Maximum number of levels of a histogram."""

_ZERO = torch.zeros(1)


@dataclass(frozen=True)
class Parts:
    """The data as matrices.

    Attributes:
        train: training rows.
        valid: rows that select sizes.
        scored: rows to score.
    """

    train: Matrix
    valid: Matrix
    scored: Matrix

    def some(self, elements: Tensor) -> "Parts":
        """The same with some of the elements, by a bool per element."""
        return Parts(*(rows.some(elements) for rows in (self.train, self.valid, self.scored)))

    def raw(self, steps: Steps) -> "Parts":
        """The same as integers, from which x is made."""
        return Parts(*(steps.raw(rows) for rows in (self.train, self.valid, self.scored)))

    @property
    def has_mask(self) -> bool:
        """Whether entries of x are missing."""
        every = (self.train, self.valid, self.scored)
        return any(rows.observed is not None for rows in every)


@dataclass(frozen=True)
class Candidate:
    """A baseline for some data.

    Attributes:
        name: the baseline.
        measure: whether its log p(x) is of a density or a probability.
        parts: its data.
        fit: function that fits it, or a sentence on why it is left out.
    """

    name: str
    measure: Measure
    parts: Parts
    fit: Fit | str


def candidates(
    fn: Any,
    support: Any,
    parts: Parts,
    steps: Steps | None,
    scaling: Scaling,
    latents: int,
    seed: int,
) -> Iterator[Candidate]:
    """The applicable baselines, and those left out with a reason.

    Args:
        fn: the distribution of x in the model.
        support: the support of x.
        parts: the data.
        steps: how x is made from integers, if it is and the likelihood is continuous.
        scaling: how raw values became x.
        latents: latent dimensions per datum; 0 if none belongs to a datum.
        seed: seed of starting values.
    """
    elements = elements_of(support)
    if isinstance(elements, Columnwise):
        yield from _of_columns(base(fn), parts, _measure(elements))
        return
    if any(isinstance(end, Tensor) for end in ends_of(elements)):
        reason = f"elements of x have different bounds: {in_words(elements)}"
        yield Candidate("independent", _measure(elements), parts, reason)
        return
    family = family_of(fn) or _default(elements)
    if elements.is_discrete:
        yield _independent(family, elements, parts, 0.0)
        yield from _of_discrete(family, elements, parts, seed)
        return
    floor = _least_variance(parts.train, steps)
    yield _independent(family, elements, parts, floor**0.5)
    yield from _of_continuous(parts, floor, latents, seed)
    if steps is not None:
        yield from _of_whole_numbers(parts.raw(steps), scaling)


def _default(elements: Any) -> Family:
    """The family for a support, if the elements of the likelihood are not independent."""
    fn: Any = dist.Normal(_ZERO, _ZERO + 1)
    if elements is constraints.boolean:
        fn = dist.Bernoulli(logits=_ZERO)
    elif elements.is_discrete:
        fn = NegativeBinomial(_ZERO, _ZERO)
    elif isinstance(elements, constraints.interval):
        fn = ContinuousBernoulli(_ZERO)
    elif isinstance(elements, constraints.greater_than | constraints.greater_than_eq):
        fn = dist.LogNormal(_ZERO, _ZERO + 1)
    family = family_of(fn)
    assert family is not None, "a family of torch's, or of this package"
    return family


def _independent(family: Family, elements: Any, parts: Parts, width: float) -> Candidate:
    def fit(train: Matrix, _: Matrix) -> Any:
        return fit_independent(family, elements, train, width)

    return Candidate("independent", _measure(elements), parts, fit)


def _of_columns(fn: Any, parts: Parts, measure: Measure) -> Iterator[Candidate]:
    """Columns of several families, each group with its own."""
    assert isinstance(fn, PerColumn), "of no other a support differs from column to column"
    groups: list[tuple[Family, Any, Tensor]] = []
    for own, columns in zip(fn.groups, fn.by_group(torch.arange(len(fn.order))), strict=True):
        family = family_of(own)
        assert family is not None, "a family of this package"
        groups.append((family, own.support, columns))

    def fit(train: Matrix, _: Matrix) -> Fitted:
        each = []
        for family, support, columns in groups:
            some = train.some(columns)
            width = 0.0 if support.is_discrete else _least_variance(some, None) ** 0.5
            each.append((fit_independent(family, support, some, width), columns))
        names = ", ".join(dict.fromkeys(family.name for family, _, _ in groups))
        return Fitted(
            f"independent columns of {names}",
            lambda rows: sum(
                (fitted.log_prob(rows.some(columns)) for fitted, columns in each), torch.zeros(())
            ),
        )

    yield Candidate("independent", measure, parts, fit)
    why = "x has columns of several families, but this baseline needs real numbers only"
    for name in ("pca", "normal", "mixture"):
        yield Candidate(name, "density", parts, why)


def _measure(elements: Any) -> Measure:
    return "probability" if elements.is_discrete else "density"


def _of_discrete(family: Family, elements: Any, parts: Parts, seed: int) -> Iterator[Candidate]:
    if elements is constraints.boolean:
        yield Candidate(
            "mixture", "probability", parts,
            lambda train, valid: fit_mixture_of_bernoullis(train, valid, seed),
        )  # fmt: skip
    elif isinstance(elements, Grid):
        top = torch.full((1,), elements.levels - 1.0).double()
        yield _histogram(parts.raw(Steps(_ZERO.double(), top)), elements.levels)
    elif isinstance(elements, constraints.integer_interval):
        if elements.lower_bound == 0 and int(elements.upper_bound) < LEVELS:
            yield _histogram(parts, int(elements.upper_bound) + 1)
    elif family.name != NegativeBinomial.__name__:
        yield _negative_binomial(parts)


def _of_continuous(parts: Parts, floor: float, latents: int, seed: int) -> Iterator[Candidate]:
    count = parts.train.x.shape[1]
    fits: dict[str, Fit] = {
        "pca": lambda train, _: fit_pca(train, latents, floor),
        "normal": lambda train, valid: fit_normal(train, valid, floor),
        "mixture": lambda train, valid: fit_mixture_of_normals(train, valid, floor, seed),
    }
    why_not: dict[str, str] = {}
    if parts.has_mask:
        why_not = dict.fromkeys(
            fits, "entries of x are missing, but scikit-learn needs complete rows"
        )
    elif count > ELEMENTS:
        why = f"x has more than {ELEMENTS:,} elements, which would take too long"
        why_not = {"pca": why, "normal": why}
    elif count == 1:
        why_not = {"pca": "x has one element, and so no smaller dimension"}
    elif not latents:
        why_not = {"pca": "no latent belongs to a datum, so its dimension is unknown"}
    for name, fit in fits.items():
        yield Candidate(name, "density", parts, why_not.get(name, fit))


def _of_whole_numbers(parts: Parts, scaling: Scaling) -> Iterator[Candidate]:
    every = [rows.x for rows in (parts.train, parts.valid, parts.scored)]
    least, most = min(float(x.min()) for x in every), max(float(x.max()) for x in every)
    levels = LEVELS if scaling.kind == "8-bit" else int(most) + 1
    if least >= 0 and levels <= LEVELS:
        yield _histogram(parts, levels)
    if least >= 0 and scaling.kind not in ("8-bit", "unit"):
        yield _negative_binomial(parts)


def _histogram(parts: Parts, levels: int) -> Candidate:
    def fit(train: Matrix, _: Matrix) -> Any:
        return fit_histograms(train, levels)

    return Candidate("histogram", "probability", parts, fit)


def _negative_binomial(parts: Parts) -> Candidate:
    family = family_of(NegativeBinomial(_ZERO, _ZERO))
    assert family is not None, "a family of this package"
    of_counts = _independent(family, NegativeBinomial.support, parts, 0.0)
    return Candidate("negative_binomial", "probability", parts, of_counts.fit)


def _least_variance(train: Matrix, steps: Steps | None) -> float:
    """A share of the mean variance of x; for integers, at least that of rounding to a step."""
    count: Tensor = train.weight.sum(0).clamp(min=1)
    off = (train.x - train.x.sum(0) / count) * train.weight
    floor = max(FLOOR * float((off.square().sum(0) / count).mean()), 1e-12)
    return floor if steps is None else max(floor, float(steps.half.square().mean()) / 3)
