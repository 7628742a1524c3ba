"""Conclusion of a comparison in one sentence, which claims no difference that noise can explain."""

import math
from collections.abc import Mapping, Sequence

from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Side
from ppvae.diagnostics.estimator.significance import TAIL, errors_beyond_noise


def conclusion(
    sides: Mapping[str, Side],
    time_ratio: tuple[float, float | None],
    held_out: tuple[float, float | None],
    steps: int,
    exact: Sequence[str],
) -> str:
    """One sentence about the numbers; a difference within noise is called none.

    The values have the same expectation at the same weights: their difference is given with its
    error, as a check of the noise, and never tested. The gradient variances are tested at a level
    of 1 in 100 by Student's t, the held-out bounds at 1 in 20, as there is only one per seed.
    Where no KL has a closed form the two bounds are one estimator, and nothing is tested.
    """
    a, b = sides[ANALYTIC], sides[SAMPLED]
    if exact:
        clauses = [
            _agreement(a, b),
            _gradients(a, b) + f" at {_ratio(time_ratio)} of the time per step",
            _held_out(held_out, len(a.held_out), steps),
        ]
    else:
        clauses = [
            "no KL of this pair has a closed form, so that the two bounds are one estimator, and "
            "every difference is noise",
            _agreement(a, b),
            f"a step takes {_ratio(time_ratio)} of the other's time",
        ]
    sentence = "; ".join(clauses)
    return sentence[0].upper() + sentence[1:] + "."


def _agreement(a: Side, b: Side) -> str:
    apart, error = a.mean - b.mean, math.hypot(a.standard_error, b.standard_error)
    return (
        "on the same weights the two bounds have the same expectation; the estimates differ by "
        f"{apart:+.2g} +- {error:.1g} nats, which checks the noise"
    )


def _gradients(a: Side, b: Side) -> str:
    """Groups of parameters by the ratio of their variances, as far as noise allows."""
    differing: list[str] = []
    alike: list[str] = []
    for group in a.gradient_variance:
        va, vb = a.gradient_variance[group], b.gradient_variance[group]
        if va <= 0 and vb <= 0:
            continue
        if va <= 0 or vb <= 0:
            differing.append(
                f"{'no' if va <= 0 else 'some'} variance, unlike the other, in {group}"
            )
            continue
        ratio = vb / va
        error = math.hypot(
            a.gradient_variance_error[group] / va, b.gradient_variance_error[group] / vb
        )
        if not _is_significant(math.log(ratio), error, a.blocks + b.blocks - 2):
            alike.append(group)
            continue
        times = ratio if ratio > 1 else 1 / ratio
        word = "less" if ratio > 1 else "more"
        differing.append(f"{times:.3g} +- {times * error:.1g} times {word} variance in {group}")
    clauses = [f"{ANALYTIC}'s gradient has " + " and ".join(differing)] if differing else []
    if alike:
        same = " and ".join(alike)
        clauses.append(
            f"the same within noise in {same},"
            if clauses
            else f"the gradient variance is the same within noise in {same},"
        )
    return ", ".join(clauses) or "neither gradient has noise"


def _held_out(held_out: tuple[float, float | None], seeds: int, steps: int) -> str:
    mean, error = held_out
    where = f"after {steps:,} equal steps the held-out"
    if error is None:
        return f"{where} bounds differ by {mean:+.2f} nats in one seed, which does not show noise"
    figures = f"{abs(mean):.2f} +- {error:.2f} nats ({seeds} seeds)"
    if not _is_significant(mean, error, seeds - 1, tail=0.025):
        return f"{where} bounds differ by {figures}, which noise could have made"
    return f"{where} bound is higher with {ANALYTIC if mean > 0 else SAMPLED}, by {figures}"


def _ratio(time_ratio: tuple[float, float | None]) -> str:
    ratio, error = time_ratio
    return f"{ratio:.2f}" if error is None else f"{ratio:.2f} +- {error:.2f}"


def _is_significant(difference: float, error: float, freedom: int, tail: float = TAIL) -> bool:
    """Whether a difference exceeds noise at level ``tail`` on each side."""
    return abs(difference) > errors_beyond_noise(freedom, tail) * error
