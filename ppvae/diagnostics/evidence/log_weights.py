"""Log-weights of draws from the guide, by datum.

Compute the matrix once, with `importance_weights`, and use it for the bound at every K (`curve`)
and the tail of each datum (`ppvae.diagnostics.trust`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ppvae.data import Split
from ppvae.diagnostics.evidence.importance_sampling import CHUNK, Weighing
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream


def importance_weights(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    samples: int,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
    compile: bool | None = None,
) -> Tensor:
    """Log-weights log p(x, z) - log q(z | x) of draws z ~ q(z | x): ``(data, samples)``.

    They are in nats, on the CPU, in the precision of the pair, but at least float32. Draws are made
    in chunks of bounded size: only the result grows with ``samples``. It is a function of ``seed``,
    without changing any state.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data.
        samples: S, draws per datum.
        batch_size: data at a time.
        seed: seed of the draws.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.
        compile: as in `log_evidence`.

    Raises:
        InputError: if the programs have no such weight per datum: a point-mass guide, latents
            outside the data's plate, or no such plate; or if ``samples`` is below 1.
    """
    check_at_least(1, samples=samples)
    device = torch.device(device)
    chunks = list(torch.arange(len(split)).split(batch_size))
    weighing = Weighing(pair, audit, split, samples, batch_size, device, compile)
    kind = torch.promote_types(pair.dtype, torch.float32)
    weights = torch.empty(len(split), samples, dtype=kind)
    with evaluating(pair), Stream.IMPORTANCE_WEIGHTS.drawn(seed, device) as noise:
        batches = split.batches(chunks, device=device)
        for number, (rows, batch) in enumerate(zip(chunks, batches, strict=True)):
            noise.at(number)
            first = 0
            for logs in weighing.chunks(batch):
                weights[rows[0] : rows[-1] + 1, first : first + len(logs)] = logs.T
                first += len(logs)
            on_rows(len(rows))
    return weights


def check_log_weights(log_weights: Tensor) -> tuple[int, int]:
    """Numbers of data and of samples; refuse an invalid matrix of log-weights."""
    if log_weights.dim() != 2 or not log_weights.numel():
        raise InputError(
            f"log_weights has shape {tuple(log_weights.shape)}; give (data, samples), as from "
            "importance_weights"
        )
    wrong = log_weights.isnan() | log_weights.isposinf()
    if wrong.any():
        row, draw = wrong.nonzero()[0].tolist()
        raise InputError(
            f"{int(wrong.sum())} of {log_weights.numel()} log-weights are not finite, the first of "
            f"them {float(log_weights[row, draw])}, of datum {row}: a density overflows there; "
            "look at that datum, or take another checkpoint"
        )
    data, samples = log_weights.shape
    return data, samples


def blocks(log_weights: Tensor) -> list[slice]:
    """Blocks of rows, so that copies in double precision stay small."""
    data, samples = log_weights.shape
    step = max(1, CHUNK // samples)
    return [slice(start, min(start + step, data)) for start in range(0, data, step)]


def effective_samples(weights: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 of each row of log-weights."""
    return (2 * weights.logsumexp(1) - (2 * weights).logsumexp(1)).exp()
