"""Comparison of gradient estimators: noise and time of each, at the same weights.

Three of them estimate the gradient of the evidence lower bound and differ only in noise and time:
the better one needs less time for the same precision. The importance-weighted bound is a different
bound for each number of particles, and is compared separately.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO

from ppvae.bounds import ImportanceWeightedELBO, StickingTheLandingELBO
from ppvae.bounds.audit import audit as audit_under
from ppvae.bounds.objective import Bound
from ppvae.bounds.traits import traits_of
from ppvae.data import Batch
from ppvae.diagnostics.estimator.noise import Noise, group_of, noise
from ppvae.diagnostics.estimator.one_estimator import REFERENCE, Estimator
from ppvae.diagnostics.estimator.recommendation import recommend
from ppvae.diagnostics.estimator.timing import gradient_times, median
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.sites import sites
from ppvae.programs.streams import Stream, forked

ESTIMATORS: tuple[type[ELBO], ...] = (
    Trace_ELBO,
    TraceMeanField_ELBO,
    StickingTheLandingELBO,
    ImportanceWeightedELBO,
)
"""Compared estimators: three of the same gradient, the simplest first, and one of others."""


ROUNDING = 1e-10
"""Variance relative to the squared gradient below which it is only rounding."""


@dataclass(frozen=True)
class Estimators:
    """The compared estimators and the recommended one.

    Attributes:
        rows: every estimator with every number of particles.
        refused: why an estimator is not valid for this pair, by name.
        guide: the parameter groups of the guide.
        best: the recommended row.
        clauses: the reasons, after the choice.
        draws: repetitions per row.
    """

    rows: tuple[Estimator, ...]
    refused: dict[str, str]
    guide: tuple[str, ...]
    best: Estimator
    clauses: tuple[str, ...]
    draws: int

    @property
    def recommendation(self) -> str:
        """The recommendation and its reasons in one sentence."""
        return "; ".join(self.clauses) + "."

    def row(self, name: str, particles: int = 1) -> Estimator:
        """The row of an estimator with a number of particles.

        Raises:
            InputError: if there is none.
        """
        for row in self.rows:
            if (row.name, row.particles) == (name, particles):
                return row
        raise InputError(
            f"there is no row of {name} with particles={particles}"
            + (f": {self.refused[name]}" if name in self.refused else "")
        )


def compare_estimators(
    pair: Pair,
    audit: Audit,
    batch: Batch,
    *,
    particles: Sequence[int] = (1, 5, 20),
    draws: int = 50,
    rounds: int = 20,
    seed: int = 0,
    grouping: Callable[[str], str] = group_of,
    on_draw: Callable[[int], None] = lambda _: None,
) -> Estimators:
    """Estimate value and gradient of each bound repeatedly, time them, and recommend one.

    The estimator of the evidence lower bound with the least `Estimator.relative_work` at one
    particle is recommended, and then its number of particles with the least work. Differences below
    a tenth, or not significant at 1%, are ties and go to the simpler one: ``Trace_ELBO``, then
    ``TraceMeanField_ELBO``, then ``StickingTheLandingELBO``; and to fewer particles. Variances are
    relative, by group, since optimizers such as Adam scale each gradient by its size. The three
    differ in the guide only: the gradient of a decoder has the same noise under all of them.

    The noise is that of the latents only, with networks in evaluation mode; more particles do not
    reduce the noise of mini-batches. Times are of the uncompiled programs on this machine;
    estimators are timed in turns, so that other load affects all of them. Noise is a function of
    ``seed``, time is not. Weights, gradients, modes and the caller's random state are unchanged.

    Args:
        pair: model and guide.
        audit: their audit, under any bound.
        batch: ``{"x": (batch, ...), ...}``, on the weights' device.
        particles: numbers of particles; 1 is always among them.
        draws: repetitions per variance, at least 4.
        rounds: number of timings of each, at least 3.
        seed: seed of the noise.
        grouping: function from a name in ``pair.named_parameters()`` to a group.
        on_draw: called with the number of finished draws, for a progress bar; the total is
            ``draws`` for each of the `ESTIMATORS` and each number of particles, including refused
            ones.

    Raises:
        InputError: for numbers that are too small; a guide with a point mass, which has no bound;
            or a pair without a finite estimate of ``Trace_ELBO``.

    Sources: Geffner and Domke, A Rule for Gradient Estimator Selection, 2020, on variance times
    time; Roeder, Wu and Duvenaud, Sticking the Landing, 2017; Rainforth et al., Tighter Variational
    Bounds are Not Necessarily Better, 2018.
    """
    counts = sorted({1, *particles})
    check_at_least(1, particles=counts[0])
    check_at_least(4, draws=draws)
    check_at_least(3, rounds=rounds)
    if not audit.is_bound:
        raise InputError(
            "the guide has a point mass, so there is no bound to estimate; compare estimators "
            "for a guide with a density, such as MeanField"
        )

    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_draw(1)

    bounds, refused = _bounds(pair, audit, batch, counts)
    noises: dict[_Key, Noise] = {}
    for number, name in enumerate(elbo.__name__ for elbo in ESTIMATORS):
        done = 0
        try:
            if name not in refused:
                noises |= {
                    (name, k): noise(
                        bounds[name, k],
                        batch,
                        draws=draws,
                        seed=Stream.ESTIMATORS.seed(seed, number, k),
                        grouping=grouping,
                        on_draw=count,
                    )
                    for k in counts
                }
        except InputError as error:
            if name == REFERENCE:
                raise
            refused[name] = str(error)
        on_draw(draws * len(counts) - done)
    times = gradient_times(pair, {key: bounds[key] for key in noises}, batch, rounds, seed)
    guide = _groups_of_guide(pair, batch, grouping)
    weights = _weights(noises[REFERENCE, 1], guide)
    rows = tuple(_row(key, each, weights, times) for key, each in noises.items())
    best, clauses = recommend(rows, noises, guide)
    return Estimators(rows, refused, guide, best, clauses, draws)


_Key = tuple[str, int]
"""Name and particles of an estimator."""


def _bounds(
    pair: Pair, known: Audit, batch: Batch, counts: Sequence[int]
) -> tuple[dict[_Key, Bound], dict[str, str]]:
    """Each estimator with each number of particles, and why the audit refuses the others."""
    bounds: dict[_Key, Bound] = {}
    refused: dict[str, str] = {}
    for elbo in ESTIMATORS:
        name = elbo.__name__
        try:
            facts = replace(audit_under(pair, elbo, batch), vectorizes=known.vectorizes)
        except InputError as error:
            if name == REFERENCE:
                raise
            refused[name] = str(error)
            continue
        if traits_of(elbo).has_closed_form_kl and not facts.exact:
            refused[name] = (
                f"no KL of this pair has a closed form: this estimator equals {REFERENCE}"
            )
            continue
        bounds |= {(name, k): Bound(pair, elbo, facts, k) for k in counts}
    return bounds, refused


def _weights(reference: Noise, guide: Sequence[str]) -> dict[str, float]:
    """Weights of the variances of groups in the relative variance."""
    noisy = {
        name: group.variance
        for name, group in reference.groups.items()
        if group.variance > ROUNDING * max(group.mean_square, 0.0)
    }
    parts = [[g for g in noisy if g in guide], [g for g in noisy if g not in guide]]
    parts = [part for part in parts if part]
    return {g: 1 / (len(parts) * len(part) * noisy[g]) for part in parts for g in part}


def _row(
    key: _Key, found: Noise, weights: Mapping[str, float], times: Mapping[_Key, Sequence[float]]
) -> Estimator:
    groups = found.groups
    ratios = [a / b for a, b in zip(times[key], times[REFERENCE, 1], strict=True)]
    relative_cost, relative_cost_error = median(ratios)
    name, particles = key
    return Estimator(
        name=name,
        particles=particles,
        value=found.mean,
        value_error=found.standard_error,
        variance=found.variance,
        variance_error=found.variance_error,
        snr=found.snr,
        relative_variance=sum(w * groups[g].variance for g, w in weights.items()),
        relative_variance_error=sum(w * groups[g].variance_error for g, w in weights.items()),
        ms=median(times[key])[0],
        relative_cost=relative_cost,
        relative_cost_error=relative_cost_error,
    )


def _groups_of_guide(pair: Pair, batch: Batch, grouping: Callable[[str], str]) -> tuple[str, ...]:
    """Groups with a parameter on which the draws of the guide or their density depend."""
    named = [(name, p) for name, p in pair.named_parameters() if p.requires_grad]
    with evaluating(pair), torch.enable_grad(), forked(batch["x"].device):
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
        made = [trace.log_prob_sum()]
        made += [node["value"].sum() for node in sites(trace).values()]
        sources = [value for value in made if value.requires_grad]
        if not sources:
            return ()
        slopes = torch.autograd.grad(sum(sources), [p for _, p in named], allow_unused=True)
    used = [
        grouping(name) for (name, _), slope in zip(named, slopes, strict=True) if slope is not None
    ]
    return tuple(dict.fromkeys(used))
