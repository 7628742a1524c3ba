"""Result of a comparison of two bounds."""

from dataclasses import dataclass
from pathlib import Path

SAMPLED, ANALYTIC = "Trace_ELBO", "TraceMeanField_ELBO"


@dataclass(frozen=True)
class Side:
    """One bound's figures; bounds in nats per datum, the held-out ones by one common estimator.

    Attributes:
        values: repeated estimates of the bound on one batch, at the same weights for both bounds.
        mean: their mean.
        standard_error: its standard error.
        gradient_variance: for each group of parameters the variance of a gradient estimate, summed
            over its coordinates.
        gradient_variance_error: its standard error.
        snr: ||E g|| / sqrt(gradient variance), of one estimate g; see `GroupNoise.snr`.
        ms_per_step: median milliseconds of a training step, over all seeds.
        curves: for each seed the steps and the held-out bound after each epoch.
        held_out: for each seed the held-out bound after the last step.
        blocks: blocks of repetitions behind each ``gradient_variance_error``.
    """

    values: tuple[float, ...]
    mean: float
    standard_error: float
    gradient_variance: dict[str, float]
    gradient_variance_error: dict[str, float]
    snr: dict[str, float]
    ms_per_step: float
    curves: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    held_out: tuple[float, ...]
    blocks: int


@dataclass(frozen=True)
class Comparison:
    """Two bounds measured on one program.

    Attributes:
        sides: the figures of each bound, by its name.
        time_ratio: milliseconds of a step of ``TraceMeanField_ELBO`` over those of ``Trace_ELBO``,
            with its standard error over alternating epochs (``None`` where there is one epoch).
        held_out_difference: ``TraceMeanField_ELBO`` minus ``Trace_ELBO``, after equal steps, mean
            over seeds, with its standard error (``None`` for one seed).
        steps: steps of each fit.
        draws: repetitions behind the values and the gradients' variance.
        seeds: fits of each bound.
        exact: latent sites whose KL has a closed form.
        estimator: the estimator of the held-out bounds, the same for both.
        weights: the weights at which values and gradients were measured.
        notes: notes of the audit.
        sentence: the conclusion.
        path: the folder with ``comparison.json`` and ``figures/compare.png``.
    """

    sides: dict[str, Side]
    time_ratio: tuple[float, float | None]
    held_out_difference: tuple[float, float | None]
    steps: int
    draws: int
    seeds: int
    exact: tuple[str, ...]
    estimator: str
    weights: str
    notes: tuple[str, ...]
    sentence: str
    path: Path

    def __repr__(self) -> str:
        return f"{SAMPLED} and {ANALYTIC}, {self.seeds} seeds: {self.sentence}"
