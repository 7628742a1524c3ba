"""Embedding: mean and standard deviation of q(z | x) for each datum."""

from dataclasses import dataclass
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.distributions.moments import DRAWS, AtMeans
from ppvae.programs import Pair, evaluating
from ppvae.programs.axes import Axes
from ppvae.programs.facts import Audit
from ppvae.programs.streams import seeded


@dataclass(frozen=True)
class Embedding:
    """Mean and standard deviation of q(z | x) by latent site.

    Attributes:
        loc: posterior mean by site, each ``(data, dimensions of the site)``.
        scale: posterior standard deviation by site, of the same shapes; 0 for a point mass.

    For a latent below others they are given the means of those above; for a family without closed
    forms, they are those of `ppvae.distributions.moments.DRAWS` draws.
    """

    loc: dict[str, Tensor]
    scale: dict[str, Tensor]

    def joined(self) -> Tensor:
        """Concatenated means of all sites: ``(data, dimensions)``."""
        return torch.cat(list(self.loc.values()), dim=-1)


def embed(
    pair: Pair,
    audit: Audit,
    split: Split,
    rows: Tensor | None = None,
    *,
    seed: int = 0,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Embedding:
    """The embedding of a split, or of some rows in their order, on the CPU.

    Draws, if it needs any, are determined by ``seed``.
    """
    device = torch.device(device)
    rows = torch.arange(len(split)) if rows is None else rows
    with evaluating(pair), seeded(seed, device):
        batches = split.batches(rows.split(batch_size), device=device)
        parts = [embed_batch(pair, audit, batch) for batch in batches]
    names = parts[0].loc
    return Embedding(
        {name: torch.cat([part.loc[name].cpu() for part in parts]) for name in names},
        {name: torch.cat([part.scale[name].cpu() for part in parts]) for name in names},
    )


def embed_batch(pair: Pair, audit: Audit, batch: Batch) -> Embedding:
    """The embedding of one batch, as `embed`, on its device, without latents shared by all data.

    Classes have no mean and are left out; latents that depend on a class get the most likely one.
    Moments by draws advance torch's random state.
    """
    rows = len(batch["x"])
    with AtMeans() as at:
        trace = poutine.trace(pair.call_guide).get_trace(**batch)
    drawn = _drawn(pair, audit, batch) if audit.mapped else {}
    loc, scale = {}, {}
    for name in audit.latents:
        fn: Any = trace.nodes[name]["fn"]
        if audit.axes.data is None or rows not in fn.batch_shape or name not in at.moments:
            continue  # a global latent belongs to no datum
        mean, stddev = at.moments[name] if name not in audit.mapped else drawn[name]
        loc[name] = _by_datum(mean, fn, audit.axes)
        scale[name] = _by_datum(stddev, fn, audit.axes)
    return Embedding(loc, scale)


def _drawn(pair: Pair, audit: Audit, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """Moments, by draws, of latents that are a Delta of other draws."""
    traces: list[Any] = [poutine.trace(pair.call_guide).get_trace(**batch) for _ in range(DRAWS)]
    values = {n: torch.stack([t.nodes[n]["value"] for t in traces]) for n in audit.mapped}
    return {name: (value.mean(0), value.std(0)) for name, value in values.items()}


def _by_datum(value: Tensor, fn: Any, axes: Axes) -> Tensor:
    """A tensor of batch and event shape as ``(data, everything else)``."""
    events = len(fn.event_shape)
    return axes.columns(axes.padded(value, events), events)[0]
