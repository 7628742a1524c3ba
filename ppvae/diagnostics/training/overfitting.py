"""How much did the fit overfit? The same estimates on training data and on others.

log p(x) is the model's alone, and what lies between it and the bound is the guide's doing.
"""

from dataclasses import dataclass

from ppvae.diagnostics.context import Context
from ppvae.diagnostics.evidence.importance_sampling import Evidence, log_evidence
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError


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
        rows: how many of the examined data.
        samples: importance samples a datum.
    """

    is_own: bool
    log_p: Estimate
    gap: Estimate
    rows: int
    samples: int


def overfitting(context: Context) -> Overfitting:
    """Estimate log p(x) of training data beside the examined ones.

    Raises:
        InputError: if there are no training data, or there is no log p(x) by importance sampling.
    """
    train = context.some_of_training(context.effort.rows)
    if train is None:
        raise InputError("it takes the training data beside others, and these are not at hand")
    if not context.audit.has_evidence:
        raise InputError(
            "it takes log p(x) of each datum by importance sampling, and there is none"
        )
    samples = min(context.effort.samples, context.effort.compared_samples)
    estimates: list[Evidence] = []
    for split in (train, context.some(context.effort.rows)):
        with context.progress("training data, beside others", len(split)) as count:
            estimates.append(
                log_evidence(
                    context.pair, context.audit, split, on_rows=count, seed=context.seed,
                    samples=samples, device=context.device,
                )
            )  # fmt: skip
    seen, unseen = estimates
    return Overfitting(
        is_own=context.is_own,
        log_p=Estimate.of(seen.log_p) - Estimate.of(unseen.log_p),
        gap=Estimate.of(unseen.log_p - unseen.elbo) - Estimate.of(seen.log_p - seen.elbo),
        rows=len(unseen.log_p),
        samples=samples,
    )
