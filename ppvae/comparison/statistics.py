"""From what was measured to the figures of a comparison, with their standard errors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ppvae.comparison.climbs import Climb
from ppvae.comparison.result import ANALYTIC, SAMPLED, Side


def side_of(measured: Any, climbs: Sequence[Climb]) -> Side:
    """The figures of one bound: its noise as ``measured``, and all its climbs."""
    groups = measured.groups
    times = torch.tensor([ms for climb in climbs for epoch in climb.ms for ms in epoch])
    return Side(
        values=tuple(measured.values.tolist()),
        mean=measured.mean,
        standard_error=measured.standard_error,
        gradient_variance={name: group.variance for name, group in groups.items()},
        gradient_variance_error={name: group.variance_error for name, group in groups.items()},
        snr={name: group.snr for name, group in groups.items()},
        ms_per_step=float(times.median()) if len(times) else math.nan,
        curves=tuple((tuple(climb.steps), tuple(climb.bounds)) for climb in climbs),
        held_out=tuple(climb.bounds[-1] for climb in climbs),
        blocks=measured.blocks,
    )


def time_ratio(arms: Mapping[str, Sequence[Climb]]) -> tuple[float, float | None]:
    """Ratio of median times within pairs of neighbouring epochs, and its standard error.

    The first epoch of a seed warms the machine up, and is left out where there are others.
    """
    logs = []
    for analytic, sampled in zip(arms[ANALYTIC], arms[SAMPLED], strict=True):
        pairs = list(zip(analytic.ms, sampled.ms, strict=True))
        for a, b in pairs[1:] or pairs:
            if a and b:
                logs.append(float((torch.tensor(a).median() / torch.tensor(b).median()).log()))
    if not logs:
        return math.nan, None
    mean, error = mean_and_error(logs)
    return math.exp(mean), None if error is None else math.exp(mean) * error


def held_out_difference(sides: Mapping[str, Side]) -> tuple[float, float | None]:
    """``TraceMeanField_ELBO`` less ``Trace_ELBO`` within each seed: mean, and standard error."""
    pairs = zip(sides[ANALYTIC].held_out, sides[SAMPLED].held_out, strict=True)
    return mean_and_error([a - b for a, b in pairs])


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean of a sample and its standard error, ``None`` for a sample of one."""
    numbers = torch.tensor(values, dtype=torch.float64)
    error = float(numbers.std() / math.sqrt(len(numbers))) if len(numbers) > 1 else None
    return float(numbers.mean()), error
