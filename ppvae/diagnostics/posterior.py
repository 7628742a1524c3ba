"""Where does the guide put each datum? The embedding: mean and standard deviation of q(z | x)."""

from dataclasses import dataclass
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.audit import Audit
from ppvae.data import Batch, Split
from ppvae.enumeration import AtMode
from ppvae.programs import Pair, frozen

__all__ = ["Embedding", "embed", "embed_batch"]


@dataclass(frozen=True)
class Embedding:
    """q(z | x) of each datum, latent by latent.

    Attributes:
        loc: posterior mean by site, each ``(data, dimensions of the site)``; a draw where the
            family has no mean.
        scale: posterior standard deviation by site, of the same shapes; 0 for a point mass.
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
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Embedding:
    """The embedding of a whole split, on the CPU, in the order of its rows."""
    chunks = list(torch.arange(len(split)).split(batch_size))
    with frozen(pair):
        parts = [embed_batch(pair, audit, batch) for batch in split.batches(chunks, device=device)]
    names = parts[0].loc
    return Embedding(
        {name: torch.cat([part.loc[name].cpu() for part in parts]) for name in names},
        {name: torch.cat([part.scale[name].cpu() for part in parts]) for name in names},
    )


def embed_batch(pair: Pair, audit: Audit, batch: Batch) -> Embedding:
    """The embedding of one batch: `embed`, on the batch's device and for latents of each datum.

    A class has no place between others and is left out; what depends on it is given the likeliest.
    """
    rows = len(batch["x"])
    with AtMode():
        trace = poutine.trace(pair.call_guide).get_trace(**batch)
    loc, scale = {}, {}
    for name in audit.latents:
        node: Any = trace.nodes[name]
        fn = node["fn"]
        if audit.data_dim is None or rows not in fn.batch_shape or fn.has_enumerate_support:
            continue  # a global latent belongs to no datum
        try:
            mean, stddev = node["fn"].mean, node["fn"].stddev
        except NotImplementedError:
            mean, stddev = node["value"], torch.full_like(node["value"], torch.nan)
        loc[name] = _by_datum(mean, node["fn"], audit.data_dim)
        scale[name] = _by_datum(stddev, node["fn"], audit.data_dim)
    return Embedding(loc, scale)


def _by_datum(value: Tensor, fn: Any, data_dim: int) -> Tensor:
    """``(data, everything else)`` of a tensor of batch and event shape."""
    events = len(fn.event_shape)
    return value.movedim(data_dim - events, 0).flatten(1) if value.dim() > 1 else value[:, None]
