"""Recommendation of an estimator, by significant differences only."""

import math
from collections.abc import Mapping, Sequence

from ppvae.diagnostics.estimator.noise import Noise
from ppvae.diagnostics.estimator.one_estimator import REFERENCE, WEIGHTED, Estimator
from ppvae.diagnostics.estimator.significance import errors_beyond_noise

LEAST = 0.1
"""Relative difference in work below which estimators are equally good."""


def recommend(
    rows: Sequence[Estimator], noises: Mapping[tuple[str, int], Noise], guide: Sequence[str]
) -> tuple[Estimator, tuple[str, ...]]:
    """The recommended row, and clauses with the choice and its reasons."""
    freedom = 2 * (noises[REFERENCE, 1].blocks - 1)
    best, clauses = _choice(rows, freedom)
    clauses.append(_particles(best, rows, freedom))
    most = max(row.particles for row in rows)
    if (WEIGHTED, most) in noises and most > 1:
        clauses.append(_weighted(rows, noises, guide, most))
    return best, tuple(filter(None, clauses))


def _choice(rows: Sequence[Estimator], freedom: int) -> tuple[Estimator, list[str]]:
    """The best estimator of the ELBO with its best number of particles, and the reasons."""
    single = [row for row in rows if row.particles == 1 and row.name != WEIGHTED]
    reference, chosen = single[0], _least_work(single, freedom)
    best = _least_work([row for row in rows if row.name == chosen.name], freedom)
    if len(single) == 1:
        return best, [f"take {REFERENCE}, the only estimator of the ELBO that this pair allows"]
    others = []
    for row in single[1:]:
        if row is not chosen:
            apart = _takes_more(row, chosen, freedom) or _takes_more(chosen, row, freedom)
            others.append(f"{row.name} has {_figures(row)}" + ("" if apart else " (a tie)"))
    if chosen is reference:
        return best, [
            f"take {REFERENCE}: with one particle no other takes significantly less time for the "
            f"same precision; relative to it, {', and '.join(others)}"
        ]
    groups = [
        f"{group} {chosen.variance[group] / reference.variance[group]:.2g}"
        for group in chosen.variance
        if reference.variance[group] > 0
    ]
    by_group = f" ({', '.join(groups)})" if 1 < len(groups) < 5 else ""
    return best, [
        f"take {chosen.name}: with one particle, relative to {REFERENCE}, its gradient has "
        f"{_figures(chosen, by_group)}",
        *others,
    ]


def _figures(row: Estimator, by_group: str = "") -> str:
    return (
        f"{row.relative_variance:.2f} +- {row.relative_variance_error:.2f} of the variance"
        f"{by_group} at {row.relative_cost:.2f} +- {row.relative_cost_error:.2f} of the time"
    )


def _least_work(rows: Sequence[Estimator], freedom: int) -> Estimator:
    """The first row that does not take significantly more work than the least."""
    least = min(rows, key=lambda row: row.relative_work)
    return next(row for row in rows if not _takes_more(row, least, freedom))


def _takes_more(row: Estimator, other: Estimator, freedom: int) -> bool:
    """Whether it takes significantly and noticeably more work."""
    if row.relative_work <= 0 or other.relative_work <= 0:
        return row.relative_work > other.relative_work
    error = math.hypot(
        row.relative_work_error / row.relative_work, other.relative_work_error / other.relative_work
    )
    return math.log(row.relative_work / other.relative_work) > max(
        math.log1p(LEAST), errors_beyond_noise(freedom) * error
    )


def _particles(best: Estimator, rows: Sequence[Estimator], freedom: int) -> str:
    """Whether more particles pay for the chosen estimator."""
    one, *more = [row for row in rows if row.name == best.name]
    if not more:
        return ""
    if one.relative_variance == 0:
        return "there is no noise for more particles to reduce"
    shown = more[-1] if best is one else best
    time = shown.relative_cost / one.relative_cost
    less = one.relative_variance / shown.relative_variance if shown.relative_variance else math.inf
    figures = f"{less:.3g} times less variance of the latents' noise at {time:.3g} times the time"
    if best is not one:
        return f"{best.particles} particles pay, with {figures}"
    if _takes_more(shown, one, freedom):
        return f"more particles do not pay: {shown.particles} have {figures}"
    return f"more particles make no significant difference: {shown.particles} have {figures}"


def _weighted(
    rows: Sequence[Estimator],
    noises: Mapping[tuple[str, int], Noise],
    guide: Sequence[str],
    count: int,
) -> str:
    """How much tighter the importance-weighted bound is, and its effect on the guide's signal."""
    by_key = {(row.name, row.particles): row for row in rows}
    tight, loose = by_key[WEIGHTED, count], by_key[REFERENCE, count]
    gain, error = tight.value - loose.value, math.hypot(tight.value_error, loose.value_error)
    draws = len(noises[WEIGHTED, count].values)
    least = max(errors_beyond_noise(2 * (draws - 1)) * error, 1e-6 * max(1.0, abs(loose.value)))
    clause = f"{WEIGHTED} with {count} particles is another bound, "
    figures = f"{gain:.3g} +- {error:.1g} nats"
    if gain > least:
        clause += f"{figures} closer to log p(x) than the ELBO"
    elif abs(gain) + error < 1e-6 * max(1.0, abs(loose.value)):
        clause += "of the same value here"
    else:
        clause += f"not significantly closer to log p(x) ({figures})"
    if not guide:
        return clause
    (few, few_error), (many, many_error) = (_signal(noises[WEIGHTED, k], guide) for k in (1, count))
    noise = errors_beyond_noise(2 * (draws - 1)) * math.hypot(few_error, many_error)
    ratio = f"{_root(few):.2g} to {_root(many):.2g}"
    if abs(many - few) <= noise:
        return (
            f"{clause}; the guide's signal-to-noise ratio changes from {ratio}, which is not "
            "significant"
        )
    verb = "falls" if many < few else "rises"
    return f"{clause}; the guide's signal-to-noise ratio {verb} from {ratio}"


def _signal(noise: Noise, guide: Sequence[str]) -> tuple[float, float]:
    """||E g||^2 / tr Var(g) of the guide's groups, and an upper bound on its standard error.

    Of n estimates g with variance V, Var(||mean||^2) = 4 E[g]' V E[g] / n + 2 tr(V^2) / n^2, which
    is largest if all variance lies along the mean.
    """
    variance = sum(noise.groups[group].variance for group in guide)
    if variance <= 0:
        return 0.0, 0.0
    relative = sum(noise.groups[group].variance_error for group in guide) / variance
    signal = sum(noise.groups[group].mean_square for group in guide) / variance
    n = len(noise.values)
    spread = math.sqrt(4 * max(signal, 0.0) / n + 2 / n**2)
    return signal, math.hypot(spread, signal * relative)


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))
