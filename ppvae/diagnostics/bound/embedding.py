"""Where does the guide put each datum? The embedding: mean and standard deviation of q(z | x)."""

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
    """q(z | x) of each datum, latent by latent.

    Attributes:
        loc: posterior mean by site, each ``(data, dimensions of the site)``.
        scale: posterior standard deviation by site, of the same shapes; 0 for a point mass.

    Of a latent below others these are the mean and deviation given the means of those above; of a
    family that has neither in closed form, those of `ppvae.distributions.moments.DRAWS` draws.
    """

    loc: dict[str, Tensor]
    scale: dict[str, Tensor]

    def joined(self) -> Tensor:
        """All sites' means side by side: ``(data, dimensions)``."""
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
    """The embedding of a whole split, or of some rows, on the CPU, in the order of these.

    Any draws that it takes are those of ``seed``.
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
    """The embedding of one batch: `embed`, on the batch's device and for latents of each datum.

    A class has no place between others and is left out; what depends on it is given the likeliest.
    Where moments are of draws, they move torch's random numbers.
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
    """Moments of latents that are a Delta of other draws, by draws: at those it is a point."""
    traces: list[Any] = [poutine.trace(pair.call_guide).get_trace(**batch) for _ in range(DRAWS)]
    values = {n: torch.stack([t.nodes[n]["value"] for t in traces]) for n in audit.mapped}
    return {name: (value.mean(0), value.std(0)) for name, value in values.items()}


def _by_datum(value: Tensor, fn: Any, axes: Axes) -> Tensor:
    """``(data, everything else)`` of a tensor of batch and event shape."""
    events = len(fn.event_shape)
    return axes.columns(axes.padded(value, events), events)[0]
