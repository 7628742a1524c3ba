"""Evaluation: means of a bound and its terms over data, with fixed noise."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ppvae.bounds.objective import Bound, Terms
from ppvae.data import Split
from ppvae.programs import evaluating
from ppvae.programs.streams import Stream

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Figures:
    """Means over data, in nats per datum.

    Attributes:
        elbo: the bound at beta = 1: reconstruction - kl, or that of importance weights (see
            `ppvae.bounds.objective.Terms`); ``None`` for a point mass.
        reconstruction: E_q[log p(x | z)].
        kl: KL(q(z | x) || p(z)); ``None`` for a point mass.
        objective: the training objective, at the given beta.
    """

    elbo: float | None
    reconstruction: float
    kl: float | None
    objective: float


def evaluate(
    bound: Bound,
    split: Split,
    rows: Tensor | None = None,
    *,
    beta: float = 1.0,
    batch_size: int = 128,
    draws: int = 1,
    seed: int = 0,
    fabric: "Fabric | None" = None,
    device: torch.device | str = "cpu",
) -> Figures:
    """Mean of the bound and its terms over rows of a split, in nats per datum.

    The default is all rows, with ``draws`` draws per datum. The noise of each batch depends on
    ``seed`` and the batch number, and the caller's random state is unchanged: the result is the
    same for repeated calls and for any number of processes. It is computed in full precision, even
    if training runs networks in bfloat16.
    """
    rank, world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    device = torch.device(device) if fabric is None else fabric.device
    # Several draws of a datum are several rows, so that few data still fill a batch.
    rows = torch.arange(len(split)) if rows is None else rows
    chunks = list(rows.repeat(draws).split(batch_size))
    numbers = range(rank, len(chunks), world)
    totals = torch.zeros(4, dtype=torch.float64)
    with evaluating(bound), Stream.EVALUATION.drawn(seed, device) as noise:
        batches = split.batches([chunks[i] for i in numbers], device=device)
        for number, batch in zip(numbers, batches, strict=True):
            noise.at(number)
            totals += torch.stack(tuple(bound(batch, beta))).cpu().double()
    if fabric is not None:
        totals = cast("Tensor", fabric.all_reduce(totals, reduce_op="sum"))
    return figures(Terms(*totals / (len(rows) * draws)), bound)


def figures(means: Terms, bound: Bound) -> Figures:
    """Means over data, in nats per datum, as `Figures`; without a bound for a point mass."""
    objective, elbo, reconstruction, kl = (float(mean) for mean in means)
    if not bound.audit.is_bound:
        return Figures(None, reconstruction, None, objective)
    return Figures(elbo, reconstruction, kl, objective)
