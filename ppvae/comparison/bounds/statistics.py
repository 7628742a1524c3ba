"""Figures of a comparison with their standard errors, from the measurements."""

import math
from collections.abc import Mapping, Sequence

import torch

from ppvae.comparison.bounds.alternating import AlternatingFit
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Side
from ppvae.diagnostics.estimator.noise import Noise
from ppvae.diagnostics.shared.estimate import Estimate


def side_of(measured: Noise, fits: Sequence[AlternatingFit]) -> Side:
    """The figures of one bound: its ``measured`` noise, and all its fits."""
    times = torch.tensor([ms for fit in fits for epoch in fit.ms for ms in epoch])
    return Side(
        values=tuple(measured.values.tolist()),
        mean=measured.mean,
        standard_error=measured.standard_error,
        gradient_variance=measured.variance,
        gradient_variance_error=measured.variance_error,
        snr=measured.snr,
        ms_per_step=float(times.median()) if len(times) else math.nan,
        curves=tuple((tuple(fit.steps), tuple(fit.bounds)) for fit in fits),
        held_out=tuple(fit.bounds[-1] for fit in fits),
        blocks=measured.blocks,
    )


def time_ratio(fits: Mapping[str, Sequence[AlternatingFit]]) -> tuple[float, float | None]:
    """Ratio of median times within pairs of neighbouring epochs, and its standard error.

    The first epoch of a seed warms the machine up, and is left out if there are others.
    """
    logs = []
    for analytic, sampled in zip(fits[ANALYTIC], fits[SAMPLED], strict=True):
        pairs = list(zip(analytic.ms, sampled.ms, strict=True))
        for a, b in pairs[1:] or pairs:
            if a and b:
                logs.append(float((torch.tensor(a).median() / torch.tensor(b).median()).log()))
    if not logs:
        return math.nan, None
    mean, error = mean_and_error(logs)
    return math.exp(mean), None if error is None else math.exp(mean) * error


def held_out_difference(sides: Mapping[str, Side]) -> tuple[float, float | None]:
    """``TraceMeanField_ELBO`` minus ``Trace_ELBO`` within each seed: mean and standard error."""
    pairs = zip(sides[ANALYTIC].held_out, sides[SAMPLED].held_out, strict=True)
    return mean_and_error([a - b for a, b in pairs])


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean of a sample and its standard error, ``None`` for a sample of one."""
    estimate = Estimate.of(torch.tensor(values, dtype=torch.float64))
    return estimate.mean, estimate.standard_error if len(values) > 1 else None
