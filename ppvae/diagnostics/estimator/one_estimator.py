"""One gradient estimator: its noise, time and work."""

import math
from dataclasses import dataclass

from pyro.infer import Trace_ELBO

from ppvae.bounds import ImportanceWeightedELBO

REFERENCE, WEIGHTED = Trace_ELBO.__name__, ImportanceWeightedELBO.__name__
"""The reference estimator, and the one of another bound."""


@dataclass(frozen=True)
class Estimator:
    """One estimator with one number of particles; g is one estimate of its gradient.

    Attributes:
        name: class name of the bound.
        particles: K, draws of the latents per datum.
        value: its bound, in nats per datum.
        value_error: standard error of ``value`` over draws.
        variance: tr Var(g) by group of parameters, as in `GroupNoise.variance`.
        variance_error: standard errors of ``variance``.
        snr: ||E g|| / sqrt(tr Var(g)) by group, as in `GroupNoise.snr`.
        relative_variance: the variance relative to that of ``Trace_ELBO`` with one particle, mean
            over groups: half the weight on the guide's, half on those of the model only. Groups in
            which the reference has no noise are left out.
        relative_variance_error: standard error of ``relative_variance``, slightly conservative: the
            errors of groups are added.
        ms: median time of value and gradient in milliseconds.
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
    def relative_work(self) -> float:
        """Relative variance x relative cost: the time for equal precision, 1 / efficiency.

        It is the same for one estimate and for the mean of several sequential ones. Compare it only
        between estimators of the same bound.
        """
        return self.relative_variance * self.relative_cost

    @property
    def relative_work_error(self) -> float:
        """Standard error of `relative_work`."""
        return math.hypot(
            self.relative_variance_error * self.relative_cost,
            self.relative_variance * self.relative_cost_error,
        )
