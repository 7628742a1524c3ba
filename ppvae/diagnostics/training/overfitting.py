"""Overfitting: the same estimates on training data and on other data.

log p(x) depends on the model only, and the gap between it and the bound on the guide.

The lead of training data over other data is twice the loss by overfitting. To first order in the
noise of the weights, weights that maximize a sum over training data are as far below the best ones
on new data as above them on training data (Akaike, 1974; Takeuchi, 1976): only half of the
difference is lost on new data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ppvae.data import Split
from ppvae.diagnostics.answer import Deficit
from ppvae.diagnostics.evidence.importance_sampling import log_evidence
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.facts import Audit


@dataclass(frozen=True)
class Overfitting:
    """The lead of training data over the examined ones.

    For data from the same source it is overfitting; for other data it also includes their
    difference. log p(x) uses few importance samples, since common errors cancel; losses of the
    guide beyond these, which are larger on unseen data, are attributed to the model.

    Attributes:
        is_own: whether the examined data are a split of the run's own.
        log_p: difference of mean log p(x): overfitting of the model.
        gap: difference of the mean gap between bound and log p(x): overfitting of the encoder.
        bound: difference of the mean training bound: the sum of the two if it weighs no draws.
        rows: number of examined data.
        samples: importance samples per datum.
    """

    is_own: bool
    log_p: Estimate
    gap: Estimate
    bound: Estimate
    rows: int
    samples: int

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """Losses by overfitting; unknown for other data."""
        if not self.is_own:
            return ()
        bound, log_p = (
            Estimate(each.mean / 2, each.standard_error / 2) for each in (self.bound, self.log_p)
        )
        remedy = "more data, `patience`, or smaller networks (`decoder.hidden`, `encoder.hidden`)"
        return (Deficit("overfitting", bound.mean, bound.standard_error, remedy, log_p=log_p),)


def overfitting(
    pair: Pair,
    audit: Audit,
    train: Split,
    split: Split,
    *,
    samples: int,
    weighed: int = 1,
    is_own: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Overfitting:
    """Estimate log p(x) of training and examined data.

    Args:
        pair: model and guide.
        audit: their audit.
        train: training data.
        split: the examined data.
        samples: importance samples per datum.
        weighed: draws per datum that the bound of the fit weighs.
        is_own: whether the examined data are a split of the run's own.
        seed: seed of all draws.
        device: where the pair is.
        on_rows: called with the number of finished data of both.

    Raises:
        InputError: if there is no log p(x) by importance sampling.
    """
    if not audit.has_evidence:
        raise InputError(
            "it needs log p(x) of each datum by importance sampling, which is not available"
        )
    common: dict[str, Any] = {"seed": seed, "device": device}
    seen, unseen = (
        log_evidence(pair, audit, each, samples=samples, on_rows=on_rows, **common)
        for each in (train, split)
    )
    bounds = [seen.elbo, unseen.elbo]
    if weighed > 1:  # with as many samples as it weighs, log p(x) is that bound
        bounds = [
            log_evidence(pair, audit, each, samples=weighed, **common).log_p
            for each in (train, split)
        ]
    return Overfitting(
        is_own=is_own,
        log_p=_difference(seen.log_p, unseen.log_p),
        gap=_difference(unseen.log_p - unseen.elbo, seen.log_p - seen.elbo),
        bound=_difference(*bounds),
        rows=len(unseen.log_p),
        samples=samples,
    )


def _difference(one: torch.Tensor, other: torch.Tensor) -> Estimate:
    return Estimate.of(one) - Estimate.of(other)
