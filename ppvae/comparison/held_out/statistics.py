"""Rows with paired differences and their errors, from the figures of runs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ppvae.comparison.held_out.result import HeldOut, OneRun, Row
from ppvae.diagnostics.estimator.significance import errors_beyond_noise
from ppvae.diagnostics.shared.estimate import Estimate

CHANCE = 0.05
"""Probability that noise alone calls any of equal rows lower than the best one, at most."""


def rows_of(
    groups: Sequence[Sequence[OneRun]],
    names: Sequence[str],
    settings: Sequence[Mapping[str, str]],
) -> tuple[Row, ...]:
    """One row per group, the highest log p(x) first.

    A datum's log p(x) is the mean over seeds. Differences are paired by datum, so that what makes a
    datum hard for both cancels. Their error has a part for other rows and one for other seeds.
    """
    by_datum = [torch.stack([run.log_p for run in group]) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: -float(by_datum[i].mean()))
    best = by_datum[order[0]]
    found = []
    for i in order:
        difference = difference_of(by_datum[i], best)
        found.append(
            Row(
                name=names[i],
                runs=tuple(groups[i]),
                settings=settings[i],
                log_p=_held_out(by_datum[i].mean(0), [by_datum[i]]),
                difference=difference,
                is_lower=is_lower(difference, len(groups)),
            )
        )
    return tuple(found)


def difference_of(ours: Tensor, best: Tensor) -> HeldOut:
    """Log p(x) of one setting minus that of another, ``(seeds, data)`` each."""
    if ours is best:
        return HeldOut(0.0, 0.0, None, 1.0)
    return _held_out(ours.mean(0) - best.mean(0), [ours, best])


def is_lower(difference: HeldOut, rows: int) -> bool:
    """Whether a difference from the best of so many rows is beyond noise.

    Any row may be the best by chance, and any other the lower one: the level is divided by the
    number of ordered pairs (Bonferroni).
    """
    if difference.error == 0:
        return difference.mean < 0
    beyond = errors_beyond_noise(round(difference.freedom), CHANCE / (rows * (rows - 1)))
    return difference.mean < -beyond * difference.error


def _held_out(by_datum: Tensor, sides: Sequence[Tensor]) -> HeldOut:
    """The mean of ``(data,)`` values computed from sides ``(seeds, data)``."""
    rows = Estimate.of(by_datum)
    seeds = [(Estimate.of(s.mean(1)).standard_error, len(s)) for s in sides if len(s) > 1]
    error = sum(e**2 for e, _ in seeds) ** 0.5 if seeds else None
    whole = rows.standard_error**2 + sum(e**2 for e, _ in seeds)
    shares = rows.standard_error**4 / (len(by_datum) - 1) + sum(e**4 / (n - 1) for e, n in seeds)
    return HeldOut(rows.mean, rows.standard_error, error, whole**2 / shares if shares else 1.0)
