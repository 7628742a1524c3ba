"""Rows scored independently: log p(x) and codes that do not depend on the other rows.

Each row is scored as if it were alone, with the same draws as any other. If the programs allow it,
`torch.vmap` computes many rows at once with the same random numbers.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import cast

import pyro
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.bound.embedding import embed_batch
from ppvae.diagnostics.evidence.importance_sampling import CHUNK, log_weights
from ppvae.distributions.moments import DRAWS
from ppvae.errors import check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.streams import OpenStream, Stream, state


def log_p_apart(pair: Pair, audit: Audit, split: Split, *, samples: int, seed: int = 0) -> Tensor:
    """Estimate log p(x) of each row, ``(data,)`` in nats, by ``samples`` importance samples.

    As in `ppvae.diagnostics.log_evidence`, but every row has the same draws eps of the noise of the
    guide (common random numbers), as in z = loc(x) + scale(x) * eps. So the score of a row does not
    depend on the other rows, up to rounding in the precision of the pair.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the rows.
        samples: draws per row.
        seed: seed of the draws.

    Raises:
        InputError: as `ppvae.diagnostics.log_weights`.
    """
    check_at_least(1, samples=samples)

    def score(row: Batch) -> Tensor:
        return log_weights(pair, audit, row, samples).logsumexp(0)[0] - math.log(samples)

    size = max(1, CHUNK // (samples * math.prod(split.shape)))
    with evaluating(pair), Stream.EVIDENCE.drawn(seed, pair.device) as noise:
        return torch.cat(list(_apart(score, split, size, noise)))


def loc_apart(pair: Pair, audit: Audit, split: Split, *, seed: int = 0) -> Tensor:
    """E[z | x] of the guide for each row, ``(data, latent)``, with all sites concatenated.

    As in `ppvae.diagnostics.embed` if the means have a closed form, else from
    `ppvae.distributions.moments.DRAWS` draws, the same for every row.
    """
    with evaluating(pair), Stream.CODES.drawn(seed, pair.device) as noise:
        noise.at(0)
        before = _state(pair)
        whole = [embed_batch(pair, audit, b).joined() for b in split.chunks(512, pair.device)]
        if torch.equal(before, _state(pair)):  # no random numbers were drawn
            return torch.cat(whole)

        def encode(row: Batch) -> Tensor:
            latents = Densities(pair, audit, row).draw(DRAWS).latents
            return torch.cat([latents[name].mean(0).flatten() for name in audit.latents])

        size = max(1, CHUNK // (DRAWS * math.prod(split.shape)))
        return torch.cat(list(_apart(encode, split, size, noise)))


def _state(pair: Pair) -> Tensor:
    """State of the random generator of a pair."""
    of = state(pair.device)
    return cast("Tensor", of["cpu"] if of["device"] is None else of["device"])


def _apart(
    score: Callable[[Batch], Tensor], split: Split, size: int, noise: OpenStream
) -> Iterator[Tensor]:
    """Apply a function of one row, as a batch of one, to all rows of a split."""
    is_mapped = True
    for batch in split.chunks(size):
        found = _at_once(score, batch, noise) if is_mapped else None
        is_mapped = found is not None
        yield _one_by_one(score, batch, noise) if found is None else found


def _at_once(score: Callable[[Batch], Tensor], batch: Batch, noise: OpenStream) -> Tensor | None:
    """A function of one row applied to all rows of a batch; ``None`` if vmap fails."""

    def of_row(row: Batch) -> Tensor:
        return score({name: value[None] for name, value in row.items()})

    noise.at(0)
    with pyro.validation_enabled(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        try:
            found: Tensor = torch.vmap(of_row, randomness="same")(batch)
        except RuntimeError:  # a branch on values, or a number of draws that depends on the row
            return None
    first = _one_by_one(score, {name: value[:1] for name, value in batch.items()}, noise)
    return found if torch.allclose(found[:1], first, rtol=1e-4, atol=1e-4) else None


def _one_by_one(score: Callable[[Batch], Tensor], batch: Batch, noise: OpenStream) -> Tensor:
    found = []
    for row in range(len(batch["x"])):
        noise.at(0)
        found.append(score({name: value[row : row + 1] for name, value in batch.items()}))
    return torch.stack(found)
