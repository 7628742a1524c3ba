"""Which estimator of the gradient? Noise and time of each, on one program at the same weights.

Three of them estimate one gradient, that of the evidence lower bound, and differ in noise and in
time alone: the better one gets the same precision for less. The importance-weighted bound is
another bound for each number of particles, and is looked at apart.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.util import site_is_subsample

from ppvae.audit import Audit
from ppvae.audit import audit as audit_under
from ppvae.data import Batch
from ppvae.diagnostics.noise import Noise, group_of, noise
from ppvae.errors import InputError
from ppvae.evaluation import fold_seed
from ppvae.importance import ImportanceWeightedELBO
from ppvae.objectives import Bound
from ppvae.path import StickingTheLandingELBO
from ppvae.programs import Pair, frozen

__all__ = ["ESTIMATORS", "Estimator", "Estimators", "compare_estimators"]

ESTIMATORS: tuple[type[ELBO], ...] = (
    Trace_ELBO,
    TraceMeanField_ELBO,
    StickingTheLandingELBO,
    ImportanceWeightedELBO,
)
"""What is compared: three estimators of one gradient, the simplest first, and one of others."""

REFERENCE, WEIGHTED = Trace_ELBO.__name__, ImportanceWeightedELBO.__name__

LEAST = 0.1
"""Relative difference in price below which estimators are as good as each other."""

TAIL = 0.005
"""Chance of noise alone making a difference that is told, on each side."""


ROUNDING = 1e-10
"""Variance relative to the gradient's square, below which it is rounding and no noise."""


@dataclass(frozen=True)
class Estimator:
    """One estimator with one number of particles; g is one estimate of its gradient.

    Attributes:
        name: of the bound, as a class.
        particles: K, draws of the latents per datum.
        value: its bound, in nats per datum.
        value_error: standard error of ``value`` over draws.
        variance: tr Var(g) by group of parameters, as in `GroupNoise.variance`.
        variance_error: standard errors of ``variance``.
        snr: ||E g|| / sqrt(tr Var(g)) by group, as in `GroupNoise.snr`.
        relative_variance: the variance relative to that of ``Trace_ELBO`` with one particle, mean
            over groups: half of it over the guide's, half over those of the model alone. Groups in
            which the reference has no noise are left out.
        relative_variance_error: standard error of ``relative_variance``, or a little more: the
            errors of groups are taken to be of one sign.
        ms: median milliseconds of value and gradient.
        relative_cost: the time, relative to ``Trace_ELBO`` with one particle: median over rounds.
        relative_cost_error: standard error of ``relative_cost``.
    """

    name: str
    particles: int
    value: float
    value_error: float
    variance: dict[str, float]
    variance_error: dict[str, float]
    snr: dict[str, float]
    relative_variance: float
    relative_variance_error: float
    ms: float
    relative_cost: float
    relative_cost_error: float

    @property
    def price(self) -> float:
        """Relative variance x relative cost: the time for equal precision, 1 / efficiency.

        It is the same for one estimate and for the mean of several, made one after the other. To
        be compared between estimators of the same bound.
        """
        return self.relative_variance * self.relative_cost

    @property
    def price_error(self) -> float:
        """Standard error of `price`."""
        return math.hypot(
            self.relative_variance_error * self.relative_cost,
            self.relative_variance * self.relative_cost_error,
        )


@dataclass(frozen=True)
class Estimators:
    """What there is to choose from, and what to choose.

    Attributes:
        rows: every estimator with every number of particles.
        refused: why an estimator is none for this pair, by its name.
        guide: the groups of parameters that the guide uses.
        best: the row that is recommended.
        recommendation: why, in one sentence.
        draws: repetitions behind each row.
    """

    rows: tuple[Estimator, ...]
    refused: dict[str, str]
    guide: tuple[str, ...]
    best: Estimator
    recommendation: str
    draws: int

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

    Of the estimators of the evidence lower bound the one with the lowest `Estimator.price` with one
    particle is recommended, and then the number of particles with the lowest price of its own. What
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
    for name, value, least in (
        ("particles", counts[0], 1),
        ("draws", draws, 4),
        ("rounds", rounds, 3),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    if not audit.is_bound:
        raise InputError(
            "the guide has a point mass, so that there is no bound to estimate; compare estimators "
            "for a guide with a density, such as MeanField"
        )

    bounds, refused = _bounds(pair, audit, batch, counts)
    noises: dict[_Key, Noise] = {}
    for number, name in enumerate(elbo.__name__ for elbo in ESTIMATORS):
        done = _Counter(on_draw)
        try:
            if name not in refused:
                noises |= {
                    (name, k): noise(
                        bounds[name, k],
                        batch,
                        draws=draws,
                        seed=fold_seed(seed, 16, number, k),
                        grouping=grouping,
                        on_draw=done.one,
                    )
                    for k in counts
                }
        except InputError as error:
            if name == REFERENCE:
                raise
            refused[name] = str(error)
        on_draw(draws * len(counts) - done.count)
    times = _times(pair, {key: bounds[key] for key in noises}, batch, rounds, seed)
    guide = _groups_of_guide(pair, batch, grouping)
    weights = _weights(noises[REFERENCE, 1], guide)
    rows = tuple(_row(key, found, weights, times) for key, found in noises.items())
    freedom = 2 * (noises[REFERENCE, 1].blocks - 1)
    best, choice = _choice(rows, freedom)
    clauses = [choice, _particles(best, rows, freedom)]
    if WEIGHTED not in refused and len(counts) > 1:
        clauses.append(_weighted(rows, noises, guide, counts[-1]))
    recommendation = "; ".join(filter(None, clauses)) + "."
    return Estimators(rows, refused, guide, best, recommendation, draws)


_Key = tuple[str, int]
"""Name of an estimator, and its particles."""


class _Counter:
    """Passes on that a draw is done, and knows how many were."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self.count = tell, 0

    def one(self) -> None:
        self.count += 1
        self._tell(1)


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
        if issubclass(elbo, TraceMeanField_ELBO) and not facts.exact:
            refused[name] = f"no KL of this pair has a closed form: it would be {REFERENCE}"
            continue
        bounds |= {(name, k): Bound(pair, elbo, facts, k) for k in counts}
    return bounds, refused


def _times(
    pair: Pair, bounds: Mapping[_Key, Bound], batch: Batch, rounds: int, seed: int
) -> dict[_Key, list[float]]:
    """Milliseconds of value and gradient in each round; one before them warms the machine up."""
    weights = [p for p in pair.parameters() if p.requires_grad]
    device = batch["x"].device
    found: dict[_Key, list[float]] = {key: [] for key in bounds}
    keys = list(bounds)
    with (
        frozen(pair),
        torch.enable_grad(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        torch.manual_seed(fold_seed(seed, 16))
        for number in range(rounds + 1):
            # To and fro, so that a drift within a round favours none.
            for key in keys if number % 2 else reversed(keys):
                start = _now(device)
                objective = bounds[key](batch).objective
                torch.autograd.grad(objective, weights, allow_unused=True)
                if number:
                    found[key].append(1e3 * (_now(device) - start))
    return found


def _now(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


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
    relative_cost, relative_cost_error = _median(ratios)
    name, particles = key
    return Estimator(
        name=name,
        particles=particles,
        value=found.mean,
        value_error=found.standard_error,
        variance={name: group.variance for name, group in groups.items()},
        variance_error={name: group.variance_error for name, group in groups.items()},
        snr={name: group.snr for name, group in groups.items()},
        relative_variance=sum(w * groups[g].variance for g, w in weights.items()),
        relative_variance_error=sum(w * groups[g].variance_error for g, w in weights.items()),
        ms=_median(times[key])[0],
        relative_cost=relative_cost,
        relative_cost_error=relative_cost_error,
    )


def _median(sample: Sequence[float]) -> tuple[float, float]:
    """Median, and its standard error as of normal values, from their quartiles."""
    values = torch.tensor(sample, dtype=torch.float64)
    low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    scale = float(high - low) / 1.349
    return float(middle), math.sqrt(math.pi / 2) * scale / math.sqrt(len(values))


def _groups_of_guide(pair: Pair, batch: Batch, grouping: Callable[[str], str]) -> tuple[str, ...]:
    """Groups with a parameter that the guide's draws or their density depend on."""
    named = [(name, p) for name, p in pair.named_parameters() if p.requires_grad]
    device = batch["x"].device
    with (
        frozen(pair),
        torch.enable_grad(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
        made = [trace.log_prob_sum()]
        made += [
            node["value"].sum()
            for node in trace.nodes.values()
            if node["type"] == "sample" and not site_is_subsample(node)
        ]
        sources = [value for value in made if value.requires_grad]
        if not sources:
            return ()
        found = torch.autograd.grad(sum(sources), [p for _, p in named], allow_unused=True)
    used = [
        grouping(name) for (name, _), slope in zip(named, found, strict=True) if slope is not None
    ]
    return tuple(dict.fromkeys(used))


def _choice(rows: Sequence[Estimator], freedom: int) -> tuple[Estimator, str]:
    """The best estimator of the ELBO, with its best number of particles; and why this estimator."""
    single = [row for row in rows if row.particles == 1 and row.name != WEIGHTED]
    reference, chosen = single[0], _cheapest(single, freedom)
    best = _cheapest([row for row in rows if row.name == chosen.name], freedom)
    if len(single) == 1:
        return best, f"take {REFERENCE}, the one estimator of the ELBO that this pair allows"
    others = []
    for row in single[1:]:
        if row is not chosen:
            apart = _is_dearer(row, chosen, freedom) or _is_dearer(chosen, row, freedom)
            others.append(f"{row.name} has {_figures(row)}" + ("" if apart else " (a tie)"))
    if chosen is reference:
        return best, (
            f"take {REFERENCE}: with one particle no other is told to give the same precision for "
            f"less time; relative to it, {', and '.join(others)}"
        )
    groups = [
        f"{group} {chosen.variance[group] / reference.variance[group]:.2g}"
        for group in chosen.variance
        if reference.variance[group] > 0
    ]
    by_group = f" ({', '.join(groups)})" if 1 < len(groups) < 5 else ""
    return best, "; ".join(
        [
            f"take {chosen.name}: with one particle, relative to {REFERENCE}, its gradient has "
            f"{_figures(chosen, by_group)}",
            *others,
        ]
    )


def _figures(row: Estimator, by_group: str = "") -> str:
    return (
        f"{row.relative_variance:.2f} +- {row.relative_variance_error:.2f} of the variance"
        f"{by_group} at {row.relative_cost:.2f} +- {row.relative_cost_error:.2f} of the time"
    )


def _cheapest(rows: Sequence[Estimator], freedom: int) -> Estimator:
    """The first, in the order given, of those that are not told from the cheapest."""
    cheapest = min(rows, key=lambda row: row.price)
    return next(row for row in rows if not _is_dearer(row, cheapest, freedom))


def _is_dearer(row: Estimator, other: Estimator, freedom: int) -> bool:
    """Whether the price is higher by more than noise shows, and by enough to matter."""
    if row.price <= 0 or other.price <= 0:
        return row.price > other.price
    error = math.hypot(row.price_error / row.price, other.price_error / other.price)
    return math.log(row.price / other.price) > max(math.log1p(LEAST), _sure(freedom) * error)


def _particles(best: Estimator, rows: Sequence[Estimator], freedom: int) -> str:
    """Whether more particles pay, for the estimator that was chosen."""
    one, *more = [row for row in rows if row.name == best.name]
    if not more:
        return ""
    if one.relative_variance == 0:
        return "there is no noise for more particles to lessen"
    shown = more[-1] if best is one else best
    time = shown.relative_cost / one.relative_cost
    less = one.relative_variance / shown.relative_variance if shown.relative_variance else math.inf
    figures = f"{less:.3g} times less variance of the latents' noise at {time:.3g} times the time"
    if best is not one:
        return f"{best.particles} particles pay, with {figures}"
    if _is_dearer(shown, one, freedom):
        return f"more particles do not pay: {shown.particles} have {figures}"
    return f"whether more particles pay cannot be told from noise: {shown.particles} have {figures}"


def _weighted(
    rows: Sequence[Estimator], noises: Mapping[_Key, Noise], guide: Sequence[str], count: int
) -> str:
    """How much tighter the importance-weighted bound is, and what becomes of the guide's signal."""
    by_key = {(row.name, row.particles): row for row in rows}
    tight, loose = by_key[WEIGHTED, count], by_key[REFERENCE, count]
    gain, error = tight.value - loose.value, math.hypot(tight.value_error, loose.value_error)
    draws = len(noises[WEIGHTED, count].values)
    least = max(_sure(2 * (draws - 1)) * error, 1e-6 * max(1.0, abs(loose.value)))
    said = f"{WEIGHTED} with {count} particles climbs another bound, "
    figures = f"{gain:.3g} +- {error:.1g} nats"
    if gain > least:
        said += f"{figures} nearer to log p(x) than the ELBO"
    elif abs(gain) + error < 1e-6 * max(1.0, abs(loose.value)):
        said += "of the same value here"
    else:
        said += f"no nearer to log p(x) than noise could make it ({figures})"
    if not guide:
        return said
    (few, few_error), (many, many_error) = (_signal(noises[WEIGHTED, k], guide) for k in (1, count))
    apart = abs(many - few) > _sure(2 * (draws - 1)) * math.hypot(few_error, many_error)
    ratio = f"{_root(few):.2g} to {_root(many):.2g}"
    if not apart:
        return (
            f"{said}; the guide's signal-to-noise ratio goes from {ratio}, as noise could make it"
        )
    verb = "falls" if many < few else "rises"
    return f"{said}; the guide's signal-to-noise ratio {verb} from {ratio}"


def _signal(found: Noise, guide: Sequence[str]) -> tuple[float, float]:
    """||E g||^2 / tr Var(g) of the guide's groups, and its standard error, or more than that.

    Of n estimates g with variance V, Var(||mean||^2) = 4 E[g]' V E[g] / n + 2 tr(V^2) / n^2, which
    is largest where all variance lies along the mean.
    """
    variance = sum(found.groups[group].variance for group in guide)
    if variance <= 0:
        return 0.0, 0.0
    relative = sum(found.groups[group].variance_error for group in guide) / variance
    signal = sum(found.groups[group].mean_square for group in guide) / variance
    n = len(found.values)
    spread = math.sqrt(4 * max(signal, 0.0) / n + 2 / n**2)
    return signal, math.hypot(spread, signal * relative)


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def _sure(freedom: int) -> float:
    """Standard errors beyond which a difference is told, by Student's t."""
    from scipy.stats import t  # late: it takes a second to import

    return float(t.ppf(1 - TAIL, freedom))
