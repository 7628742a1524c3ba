"""Importance sampling of log p(x) with the guide as the proposal."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ppvae.data import Batch, Split
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.streams import Stream

CHUNK = 2**21
"""Maximum of numbers of x times particles in memory: 8 MiB of float32 per tensor, which stay in the
cache between operations.
"""

CAUTION = "this standard error is too small if few weights dominate the mean"
"""What limits the error of a single datum."""

COVERAGE = (
    f"{CAUTION}: in linear Gaussian models, the known log p(x) was above log_p + 1.96 errors for "
    "1 to 36 % of the data, and below log_p - 1.96 errors for at most 4 %"
)
"""Coverage of the error of a single datum, with 50, 200 and 1,000 samples."""

PAYS = 2**31
"""Numbers of x times data times samples from which compiling, which takes 5 to 15 seconds, saves
time: on two cores each number costs about 12 ns eagerly and 5 ns as a graph.
"""


@dataclass(frozen=True)
class Evidence:
    """log p(x) of each datum, estimated with K importance samples; all ``(data,)``, in nats.

    Attributes:
        log_p: log of the mean weight p(x, z) / q(z | x): in expectation a lower bound on
            log p(x) that rises with K (Burda et al., 2016).
        error: standard error of ``log_p``, by the delta method; NaN for one weight. It gives no 95
            % interval: see `COVERAGE`.
        elbo: mean of the log weights: the evidence lower bound with the same draws.
        samples: K.
    """

    log_p: Tensor
    error: Tensor
    elbo: Tensor
    samples: int

    @property
    def mean(self) -> float:
        """Mean of ``log_p`` over data, in nats per datum."""
        return Estimate.of(self.log_p).mean

    @property
    def ess(self) -> Tensor:
        """Effective sample size of each datum's weights, (sum w)^2 / sum w^2 (Kish, 1965).

        From 1, if one weight dominates, to K, if all are equal.
        """
        return self.samples / (1 + self.samples * self.error.square())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, including the noise of draws."""
        return Estimate.of(self.log_p).standard_error


def evidence_name(pair: Pair, audit: Audit, batch: Mapping[str, Tensor]) -> str:
    """Name of what `log_evidence` estimates for data such as ``batch``.

    It is log p(x, y) if the model has a site "y" and some of the labels or covariates are known (-1
    is an unknown class), log p(x | y) if y is only an input of the model, and else log p(x); each
    given the size factors, if the model has them.
    """
    role = role_of_y(pair, audit, batch.get("y"))
    is_sized = "size_factor" in batch and "size_factor" in pair.names("model")
    known = [*(["y"] if role == "given" else []), *(["size factor"] if is_sized else [])]
    observed = "x, y" if role == "observed" else "x"
    return f"log p({observed} | {', '.join(known)})" if known else f"log p({observed})"


def role_of_y(pair: Pair, audit: Audit, y: Tensor | None) -> Literal["given", "observed", "absent"]:
    """Role of the labels or covariates ``y`` of the data in the model."""
    if y is None or "y" not in pair.names("model"):
        return "absent"
    if not any(site.name == "y" for site in audit.sites):
        return "given"
    is_known = "y" not in audit.latents or bool((y >= 0).any())
    return "observed" if is_known else "absent"


def log_weights(pair: Pair, audit: Audit, batch: Batch, particles: int) -> Tensor:
    """Log p(x, z) - log q(z | x) for ``particles`` draws of z per datum: ``(particles, data)``.

    Raises:
        InputError: if the programs have no such weight per datum: a point-mass guide, latents
            outside the data's plate, or no such plate.
    """
    if not audit.is_bound:
        raise InputError(_NO_DENSITY)
    return Densities(pair, audit, batch).draw(particles).log_weight


_NO_DENSITY = "a guide with a point mass has no density, and so no importance weights"


class _LogWeights(nn.Module):
    """`log_weights` of a pair, as a module."""

    def __init__(self, pair: Pair, audit: Audit) -> None:
        super().__init__()
        self.pair, self._audit = pair, audit

    def forward(self, batch: Batch, particles: int) -> Tensor:
        return log_weights(self.pair, self._audit, batch, particles)


class Weighing:
    """Log-weights of many draws, in chunks; as a native graph if that saves time.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data.
        samples: draws per datum.
        batch_size: data at a time.
        device: where the pair is.
        compile: whether full chunks are one graph, with the same draws; ``None``: by the rule of
            sizes `PAYS`. Programs that cannot be a graph run eagerly.
    """

    def __init__(
        self,
        pair: Pair,
        audit: Audit,
        split: Split,
        samples: int,
        batch_size: int,
        device: torch.device,
        compile: bool | None,
    ) -> None:
        if compile is None:
            numbers = len(split) * samples * math.prod(split.shape)
            compile = numbers >= PAYS and device.type != "mps"
        self._samples, self._as_it_is = samples, _LogWeights(pair, audit)
        self._as_graph: nn.Module = self._as_it_is
        if compile:
            from ppvae.compilation.captured import Captured  # late: it takes seconds to import

            # What draws of a batch share, such as q(z | x), is computed once per batch.
            self._as_graph = Captured(self._as_it_is, check=0, tell=lambda _: None, fixed=1)
        # Incomplete chunks, of data or of draws, are few and not compiled.
        rows = min(batch_size, len(split))
        self._whole = rows, _at_once(rows * math.prod(split.shape))

    def chunks(self, batch: Batch) -> Iterator[Tensor]:
        """The log-weights of a batch: ``(particles, data)`` each."""
        rows, at_once = len(batch["x"]), _at_once(batch["x"].numel())
        for start in range(0, self._samples, at_once):
            count = min(at_once, self._samples - start)
            weigh = self._as_graph if (rows, count) == self._whole else self._as_it_is
            yield weigh(batch, count)


def _at_once(numbers: int) -> int:
    """Number of draws per chunk, by the size of a draw."""
    return max(1, CHUNK // numbers)


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
    compile: bool | None = None,
    weighing: Weighing | None = None,
    batches: range | None = None,
) -> Evidence:
    """Estimate log p(x) of each datum of a split; the result is a function of ``seed``.

    Draws are made in chunks of bounded size, so memory does not grow with ``samples``.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data.
        samples: K, draws per datum.
        batch_size: data at a time.
        seed: seed of the draws.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.
        compile: whether full chunks are one native graph, with the same draws; by default if that
            saves time. See `Weighing`.
        weighing: the `Weighing`, if it is reused between calls.
        batches: the numbers of the batches to estimate; default all. The estimate of a datum does
            not depend on the others.

    Raises:
        InputError: as `log_weights`.
    """
    check_at_least(1, samples=samples)
    if not audit.is_bound:
        raise InputError(_NO_DENSITY)
    device = torch.device(device)
    weighing = weighing or Weighing(pair, audit, split, samples, batch_size, device, compile)
    logs, errors, elbos = [], [], []
    rows = torch.arange(len(split)).split(batch_size)
    numbers = range(len(rows)) if batches is None else batches
    with evaluating(pair), Stream.EVIDENCE.drawn(seed, device) as noise:
        read = split.batches([rows[number] for number in numbers], device=device)
        for number, batch in zip(numbers, read, strict=True):
            noise.at(number)
            log_sum = square = torch.full((len(batch["x"]),), -math.inf, device=device)
            mean = torch.zeros_like(log_sum)
            for w in weighing.chunks(batch):
                log_sum = torch.logaddexp(log_sum, w.logsumexp(0))
                square = torch.logaddexp(square, (2 * w).logsumexp(0))
                mean = mean + w.sum(0) / samples
            log_p = log_sum - math.log(samples)
            # Var(w) / (K mean(w)^2), from K sum w^2 / (sum w)^2 - 1.
            relative = (square - 2 * log_sum + math.log(samples)).exp() - 1
            logs.append(log_p.cpu())
            spread = relative.clamp(min=0) if samples > 1 else torch.full_like(relative, math.nan)
            errors.append((spread / samples).sqrt().cpu())
            elbos.append(mean.cpu())
            on_rows(len(log_p))
    return Evidence(torch.cat(logs), torch.cat(errors), torch.cat(elbos), samples)
