"""What is log p(x)? Importance sampling with the guide as the proposal."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.audit import Audit
from ppvae.data import Batch, Split
from ppvae.densities import Densities
from ppvae.errors import InputError
from ppvae.evaluation import fold_seed
from ppvae.programs import Pair, frozen

__all__ = ["Evidence", "log_evidence", "log_weights"]

CHUNK = 2**23
"""Numbers of x times particles held at once: 32 MiB of float32 a tensor of that shape."""


@dataclass(frozen=True)
class Evidence:
    """log p(x) of each datum, estimated with K importance samples; all ``(data,)``, in nats.

    Attributes:
        log_p: log of the mean weight p(x, z) / q(z | x): in expectation a lower bound on
            log p(x) that rises with K (Burda et al., 2016).
        error: standard error of ``log_p``, by the delta method; it misleads where few weights
            carry the sum.
        elbo: mean of the log weights: the evidence lower bound by the same draws.
        samples: K.
    """

    log_p: Tensor
    error: Tensor
    elbo: Tensor
    samples: int

    @property
    def mean(self) -> float:
        """Mean of ``log_p`` over data, in nats per datum."""
        return float(self.log_p.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the draws' own noise is part of."""
        return (
            float(self.log_p.std() / math.sqrt(len(self.log_p)))
            if len(self.log_p) > 1
            else math.nan
        )


def log_weights(pair: Pair, audit: Audit, batch: Batch, particles: int) -> Tensor:
    """Log p(x, z) - log q(z | x) for ``particles`` draws of z per datum: ``(particles, data)``.

    Raises:
        InputError: if the programs have no such weight per datum: a point-mass guide, latents
            outside the data's plate, or no such plate.
    """
    if not audit.is_bound:
        raise InputError("a guide with a point mass has no density, and so no importance weights")
    return Densities(pair, audit, batch).draw(particles).log_weight


def log_evidence(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    samples: int,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Evidence:
    """Estimate log p(x) of each datum of a split; moves nothing, and is a function of ``seed``.

    ``on_rows`` hears of each batch's number of data, for a progress bar. Draws are taken in chunks
    of bounded size, so that memory does not grow with ``samples``.

    Raises:
        InputError: as `log_weights`.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; it must be at least 1")
    device = torch.device(device)
    chunks = list(torch.arange(len(split)).split(batch_size))
    logs, errors, elbos = [], [], []
    with frozen(pair), torch.random.fork_rng([device] if device.type == "cuda" else []):
        for number, batch in enumerate(split.batches(chunks, device=device)):
            torch.manual_seed(fold_seed(seed, 3, number))
            at_once = max(1, CHUNK // batch["x"].numel())
            log_sum = square = torch.full((len(batch["x"]),), -math.inf, device=device)
            mean = torch.zeros_like(log_sum)
            for start in range(0, samples, at_once):
                w = log_weights(pair, audit, batch, min(at_once, samples - start))
                log_sum = torch.logaddexp(log_sum, w.logsumexp(0))
                square = torch.logaddexp(square, (2 * w).logsumexp(0))
                mean = mean + w.sum(0) / samples
            log_p = log_sum - math.log(samples)
            # Var(w) / (K mean(w)^2), from K sum w^2 / (sum w)^2 - 1.
            relative = (square - 2 * log_sum + math.log(samples)).exp() - 1
            logs.append(log_p.cpu())
            errors.append((relative.clamp(min=0) / samples).sqrt().cpu())
            elbos.append(mean.cpu())
            on_rows(len(log_p))
    return Evidence(torch.cat(logs), torch.cat(errors), torch.cat(elbos), samples)
