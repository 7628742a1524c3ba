"""Classification by the guide: q(y | x), where a class is among the latents."""

import math
from dataclasses import dataclass
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit

SITE = "y"
"""The latent class, named like the labels of the data."""


@dataclass(frozen=True)
class Classification:
    """Accuracy of the most probable class.

    Attributes:
        accuracy: share of the data whose most probable class is the true one.
        standard_error: of the accuracy, over data.
        log_loss: mean of -log q(y | x) at the true class, in nats.
        rows: number of data with a known class.
    """

    accuracy: float
    standard_error: float
    log_loss: float
    rows: int


def has_classes(audit: Audit) -> bool:
    """Whether the programs have a class among their latents."""
    return any(site.name == SITE and site.is_class for site in audit.sites)


def classify(pair: Pair, batch: Batch) -> Tensor:
    """Probabilities q(y | x) of each class, ``(data, classes)``; labels of the batch are ignored.

    Where the guide draws other latents before y, they are drawn once.

    Raises:
        InputError: if the guide has no latent ``y``, or it is not a class.
    """
    return _log_probabilities(pair, batch).exp()


def classification(
    pair: Pair, split: Split, truth: Tensor, *, batch_size: int = 512
) -> Classification:
    """Accuracy of `classify` on a split, on the device of the pair.

    Args:
        pair: model and guide.
        split: the data.
        truth: the class of each datum, ``(data,)``, -1 where unknown.
        batch_size: data per batch.

    Raises:
        InputError: as `classify`, and if no class is known.
    """
    device = next(pair.parameters()).device
    parts = [_log_probabilities(pair, batch).cpu() for batch in split.chunks(batch_size, device)]
    known = truth >= 0
    if not known.any():
        raise InputError("these data have no known label, so there is no accuracy; give labels")
    log_prob, right = torch.cat(parts)[known], truth[known]
    hits = (log_prob.argmax(-1) == right).double()
    loss = -log_prob.gather(-1, right[:, None]).mean()
    error = math.sqrt(float(hits.var(correction=0)) / len(hits))
    return Classification(float(hits.mean()), error, float(loss), len(hits))


def _log_probabilities(pair: Pair, batch: Batch) -> Tensor:
    """Log q(y | x), ``(data, classes)``, computed without labels."""
    unknown = torch.full((len(batch["x"]),), -1, device=batch["x"].device)
    with evaluating(pair):
        trace = poutine.trace(pair.call_guide).get_trace(**{**batch, SITE: unknown})
        node: Any = trace.nodes.get(SITE)
        if node is None or node["is_observed"] or not node["fn"].has_enumerate_support:
            raise InputError(
                f"the guide has no class: no latent '{SITE}' with finitely many values; take "
                "`model='SemiSupervisedVAE', guide='SemiSupervised'`"
            )
        values = node["fn"].enumerate_support(expand=False)
        log_prob: Tensor = node["fn"].log_prob(values)
    return log_prob.movedim(0, -1)
