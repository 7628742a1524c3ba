"""Gaps of the bound for each datum, due to the guide's family and to the encoder.

The gap has two parts (Cremer, Li and Duvenaud, 2018): log p(x) - ELBO[q_x] is the sum of the
*approximation gap* log p(x) - ELBO[q*], with q* the best member of the guide's family for this x,
and the *amortization gap* ELBO[q*] - ELBO[q_x], the cost of one network for all x. To find q*, the
guide is refined on each datum separately (`refining`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from ppvae.data import Batch, Split
from ppvae.diagnostics.evidence.importance_sampling import CHUNK, log_weights
from ppvae.diagnostics.gap.refining import How, choose, climb_bound, climb_evenly, plan
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.streams import OpenStream, Stream

GIVEN = "given"
"""Value of `Gaps.estimator` if log p(x) was given."""


@dataclass(frozen=True)
class Gap:
    """A difference of two quantities of each datum, in nats.

    Attributes:
        by_datum: ``(data,)``. It may be negative within its error, and by more if the search for q*
            failed.
        error: its Monte Carlo standard error, ``(data,)``.
    """

    by_datum: Tensor
    error: Tensor

    @property
    def mean(self) -> float:
        """Mean over data, in nats per datum."""
        return Estimate.of(self.by_datum).mean

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over data, which the draws' own noise is part of."""
        return Estimate.of(self.by_datum).standard_error


@dataclass(frozen=True)
class Gaps:
    """log p(x), and the bounds of the encoder's guide and of the best: all ``(data,)``, in nats.

    Attributes:
        log_p: log p(x).
        log_p_error: its standard error.
        elbo: ELBO[q_x], the encoder's bound.
        elbo_error: its standard error.
        refined: ELBO[q*], with the same noise.
        refined_error: its standard error.
        approximation: log p(x) - ELBO[q*].
        amortization: ELBO[q*] - ELBO[q_x].
        total: log p(x) - ELBO[q_x].
        how: what was refined.
        estimator: the source of ``log_p``, in words.
        climb: the refined bound, mean over data, at each step of the search: ``(steps,)``.
        draws: draws per datum for bounds and evidence.
    """

    log_p: Tensor
    log_p_error: Tensor
    elbo: Tensor
    elbo_error: Tensor
    refined: Tensor
    refined_error: Tensor
    approximation: Gap
    amortization: Gap
    total: Gap
    how: How
    estimator: str
    climb: Tensor
    draws: int

    @property
    def still_climbing(self) -> float:
        """Gain in the last quarter of the search, in nats per datum.

        It is the mean of its second half minus that of its first half. If it is far above
        `still_climbing_error`, and not small compared with the gaps, more steps would move nats
        from the approximation gap to the amortization gap.
        """
        before, after = self._last_quarter()
        return float(after.mean() - before.mean())

    @property
    def still_climbing_error(self) -> float:
        """Standard error of `still_climbing`, from the spread of single steps."""
        before, after = self._last_quarter()
        return math.sqrt(float(before.var() / len(before) + after.var() / len(after)))

    def _last_quarter(self) -> tuple[Tensor, Tensor]:
        half = len(self.climb) // 8
        return self.climb[-2 * half : -half], self.climb[-half:]


def gaps(
    pair: Pair,
    audit: Audit,
    split: Split,
    *,
    log_p: Tensor | None = None,
    log_p_error: Tensor | None = None,
    how: How | None = None,
    steps: int | None = None,
    particles: int | None = None,
    lr: float | None = None,
    draws: int = 1000,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Gaps:
    """Split log p(x) - ELBO of each datum into losses of the family and of the encoder.

    If every latent of the guide has a parametric distribution with reparameterized draws, and none
    depends on the draw of another, ``how`` is ``"parameters"``: the encoder outputs of each datum
    are optimized on its bound, for all data of a batch at once. Constants of the guide, which
    depend on no weight, stay fixed; numbers that are broadcast stay one number. The gradient is the
    path derivative (Roeder, Wu and Duvenaud, 2017: "sticking the landing"), whose noise vanishes as
    q* approaches p(z | x). Otherwise, for flows and hierarchical guides, it is ``"weights"``: all
    weights of the guide are fitted to each datum in turn, which works for any family and takes
    about twenty times as long. The learning rate of Adam decays to 0. The pair itself is unchanged.

    Without ``log_p`` it is estimated by importance sampling. q* is a better proposal than the
    encoder's guide, but too narrow if its family lacks the correlations of the posterior, so that a
    few weights would dominate: starting at q*, a proposal with more even weights is optimized on
    the importance-weighted bound (Burda et al., 2016). In expectation the estimate is too low, by
    about half the square of its error, and so is the approximation gap.

    Args:
        pair: model and guide.
        audit: their audit.
        split: the data; freeze a split that is binarized in each batch, if ``log_p`` is given.
        log_p: log p(x) of each datum, ``(data,)``, if a better value than by importance sampling is
            known: exactly, or by annealing.
        log_p_error: its standard error, ``(data,)``; default none.
        how: what to refine; default parameters, if possible.
        steps: steps of Adam.
        particles: draws per datum and step.
        lr: initial learning rate; for parameters in units of the posterior scale of each datum.
        draws: draws per datum for bounds and evidence.
        batch_size: data at a time.
        seed: seed of all draws.
        device: where the pair is.
        on_rows: called with the number of data in each batch, for a progress bar.

    Raises:
        InputError: if there is no bound, or it cannot be optimized: a point mass, a site of the
            guide without reparameterized draws, latents shared by all data; and for ``log_p`` of
            another length, or numbers that are too small.
    """
    if draws < 2:
        raise InputError(f"draws is {draws}; a mean with an error needs at least 2")
    _check_given(len(split), log_p, log_p_error)
    device = torch.device(device)
    # A search may try parameters at the edge of their domain, which is not an error.
    stream = Stream.GAPS.drawn(seed, device)
    with evaluating(pair), stream as noise, pyro.validation_enabled(False):
        how = choose(pair, audit, next(split.chunks(min(2, len(split)), device)), how)
        search = plan(how, steps, particles, lr)
        climb = torch.zeros(search.steps, dtype=torch.float64)
        found: list[dict[str, Tensor]] = []
        done = 0
        for number, batch in enumerate(split.chunks(search.rows(split.shape, batch_size), device)):
            noise.at(number)
            freed = search.let_free(pair, audit, batch)
            climb += climb_bound(freed, audit, batch, search) / len(split)
            same = noise.within(number, 1)
            weights = [_log_weights(each, audit, batch, draws, same) for each in (pair, freed)]
            if log_p is None:
                climb_evenly(freed, audit, batch, search)
                weights.append(_log_weights(freed, audit, batch, draws, same))
            count = len(batch["x"])
            given = [v if v is None else v[done : done + count] for v in (log_p, log_p_error)]
            found.append(_figures(torch.stack(weights), *given))
            done += count
            on_rows(count)
    estimator = "importance sampling from a refined guide" if log_p is None else GIVEN
    figures = {name: torch.cat([each[name] for each in found]) for name in found[0]}
    return Gaps(how=how, estimator=estimator, climb=climb, draws=draws, **_differences(figures))


def _check_given(rows: int, log_p: Tensor | None, log_p_error: Tensor | None) -> None:
    if log_p is None and log_p_error is not None:
        raise InputError("log_p_error without log_p: give the estimate too")
    for name, value in (("log_p", log_p), ("log_p_error", log_p_error)):
        if value is not None and tuple(value.shape) != (rows,):
            raise InputError(
                f"{name} has shape {tuple(value.shape)}, but there are {rows} data; give one "
                "number per datum"
            )


def _log_weights(pair: Pair, audit: Audit, batch: Batch, draws: int, noise: OpenStream) -> Tensor:
    """Log p(x, z) - log q(z), ``(draws, data)`` in float64; with the same noise each time."""
    size = max(1, CHUNK // batch["x"].numel())
    chunks = []
    for start in range(0, draws, size):
        noise.at(start)
        weights = log_weights(pair, audit, batch, min(size, draws - start))
        chunks.append(weights.cpu().double())
    return torch.cat(chunks)


def _figures(
    weights: Tensor, log_p: Tensor | None, log_p_error: Tensor | None
) -> dict[str, Tensor]:
    """Bounds from log-weights of the encoder, of q* and, to estimate ``log_p``, of a proposal.

    ``weights`` is ``(guides, draws, data)``, in logarithms; all guides share the noise of a draw.
    """
    if not bool(weights.isfinite().all()):
        raise InputError(
            "the bound of a refined guide is not finite; take a smaller lr, or another checkpoint"
        )
    before, after = weights[0], weights[1]
    if log_p is None:
        proposal = weights[2]
        estimate = proposal.logsumexp(0) - math.log(len(proposal))
        # The contribution of each draw to the estimate, to first order: w / mean(w).
        adds, noise = (proposal - estimate).exp(), torch.zeros_like(estimate)
    else:
        estimate = log_p.cpu().double()
        adds = torch.zeros_like(after)
        noise = torch.zeros_like(estimate) if log_p_error is None else log_p_error.cpu().double()
    return {
        "log_p": estimate,
        "log_p_error": torch.hypot(_error(adds), noise),
        "elbo": before.mean(0),
        "elbo_error": _error(before),
        "refined": after.mean(0),
        "refined_error": _error(after),
        "approximation": torch.hypot(_error(adds - after), noise),
        "amortization": _error(after - before),
        "total": torch.hypot(_error(adds - before), noise),
    }


def _differences(figures: dict[str, Tensor]) -> dict[str, Any]:
    """The values with gaps instead of the errors of gaps."""
    log_p, elbo, refined = figures["log_p"], figures["elbo"], figures["refined"]
    return figures | {
        "approximation": Gap(log_p - refined, figures["approximation"]),
        "amortization": Gap(refined - elbo, figures["amortization"]),
        "total": Gap(log_p - elbo, figures["total"]),
    }


def _error(values: Tensor) -> Tensor:
    """Standard error of the mean over draws."""
    return values.std(0) / math.sqrt(len(values))
