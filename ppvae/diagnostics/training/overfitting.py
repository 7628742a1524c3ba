"""How much did the fit overfit? The same estimates on training data and on others.

log p(x) is the model's alone, and what lies between it and the bound is the guide's doing.

What the training data have over others is not what was lost by it. Weights that maximize a sum over
training data are as far below the best ones on new data as they are above them on their own, to
first order in the noise of the weights (Akaike, 1974; Takeuchi, 1976): half of the difference was
lost, and half is what any weights lose that were chosen by these data.
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
    """What the training data have over the examined ones.

    Over data from the same source it is overfitting; over other data it is as well how these
    differ. log p(x) is by few importance samples, for what the two sets of data have in common
    cancels: what the guide loses beyond these, more on data that it has not seen, counts as the
    model's.

    Attributes:
        is_own: the examined data are a part of the run's own.
        log_p: difference of mean log p(x): overfitting of the model.
        gap: by how much less the bound lacks of log p(x): overfitting of the encoder.
        bound: difference of the mean bound that the fit climbed: the sum of the two where it weighs
            no draws.
        rows: how many of the examined data.
        samples: importance samples a datum.
    """

    is_own: bool
    log_p: Estimate
    gap: Estimate
    bound: Estimate
    rows: int
    samples: int

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """What the weights lost by being chosen by few data; of other data, that cannot be said."""
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
    """Estimate log p(x) of training data beside the examined ones.

    Args:
        pair: model and guide.
        audit: their audit.
        train: training data.
        split: the examined data.
        samples: importance samples a datum.
        weighed: draws of a datum that the bound of the fit weighs.
        is_own: the examined data are a part of the run's own.
        seed: seed of all draws.
        device: where the pair is.
        on_rows: called with the number of data finished, of both.

    Raises:
        InputError: if there is no log p(x) by importance sampling.
    """
    if not audit.has_evidence:
        raise InputError(
            "it takes log p(x) of each datum by importance sampling, and there is none"
        )
    common: dict[str, Any] = {"seed": seed, "device": device}
    seen, unseen = (
        log_evidence(pair, audit, each, samples=samples, on_rows=on_rows, **common)
        for each in (train, split)
    )
    bounds = [seen.elbo, unseen.elbo]
    if weighed > 1:  # of as many samples as it weighs, log p(x) is that bound
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
