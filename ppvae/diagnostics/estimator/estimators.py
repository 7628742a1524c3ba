"""Which estimator of the gradient? Noise and time of each, on one program at the same weights.

Three of them estimate one gradient, that of the evidence lower bound, and differ in noise and in
time alone: the better one gets the same precision for less. The importance-weighted bound is
another bound for each number of particles, and is looked at apart.
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
"""What is compared: three estimators of one gradient, the simplest first, and one of others."""


ROUNDING = 1e-10
"""Variance relative to the gradient's square, below which it is rounding and no noise."""


@dataclass(frozen=True)
class Estimators:
    """What there is to choose from, and what to choose.

    Attributes:
        rows: every estimator with every number of particles.
        refused: why an estimator is none for this pair, by its name.
        guide: the groups of parameters that the guide uses.
        best: the row that is recommended.
        clauses: why, the choice first.
        draws: repetitions behind each row.
    """

    rows: tuple[Estimator, ...]
    refused: dict[str, str]
    guide: tuple[str, ...]
    best: Estimator
    clauses: tuple[str, ...]
    draws: int

    @property
    def recommendation(self) -> str:
        """What to choose and why, in one sentence."""
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
    """Estimate value and gradient of each bound again and again, time them, and recommend one.

    Of the estimators of the evidence lower bound the one with the least `Estimator.relative_work`
    with one particle is recommended, and then its number of particles with the least work. What
    differs by less than a tenth, or by what noise shows once in a hundred times, is a tie, and goes
    to the simpler one: ``Trace_ELBO``, then ``TraceMeanField_ELBO``, then
    ``StickingTheLandingELBO``; to fewer particles. Variances are taken relative, group by group,
    since optimizers such as Adam measure each gradient by its own size. It is in the guide that the
    three differ: the gradient of a decoder has the same noise under all of them.

    All noise is that of the latents, with networks in evaluation mode; more particles do not lessen
    that of the choice of a batch. Times are of the programs as they are, uncompiled, on this
    machine as it is now; all estimators are timed in turns, round by round, so that what else the
    machine does falls on all. The figures of noise are a function of ``seed``, those of time are
    not. Weights, gradients, modes and the caller's random state stay as they are.

    Args:
        pair: model and guide.
        audit: what the audit found of them, under any bound.
        batch: ``{"x": (batch, ...), ...}``, on the weights' device.
        particles: numbers of particles; 1 is always among them.
        draws: repetitions behind each variance, at least 4.
        rounds: how often each is timed, at least 3.
        seed: of the noise.
        grouping: from a parameter's name, as in ``pair.named_parameters()``, to its group.
        on_draw: hears of each number of draws that are done, for a progress bar; in all they are
            ``draws`` for each of the `ESTIMATORS` and each number of particles, those that are
            refused among them.

    Raises:
        InputError: for numbers that are too small; a guide with a point mass, which has no bound;
            or a pair that ``Trace_ELBO`` itself has no finite estimate for.

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
            "the guide has a point mass, so that there is no bound to estimate; compare estimators "
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
"""Name of an estimator, and its particles."""


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
            refused[name] = f"no KL of this pair has a closed form: it would be {REFERENCE}"
            continue
        bounds |= {(name, k): Bound(pair, elbo, facts, k) for k in counts}
    return bounds, refused


def _weights(reference: Noise, guide: Sequence[str]) -> dict[str, float]:
    """What each group's variance is multiplied by in the relative variance."""
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
    """Groups with a parameter that the guide's draws or their density depend on."""
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
