"""The whole comparison: both bounds fitted in alternation, and measured at the same weights."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.comparison.bounds.alternating import AlternatingFit, fit_alternately, plan_of
from ppvae.comparison.bounds.noise import measure_noise
from ppvae.comparison.bounds.result import ANALYTIC, SAMPLED, Comparison
from ppvae.comparison.bounds.sentence import conclusion
from ppvae.comparison.bounds.statistics import held_out_difference, side_of, time_ratio
from ppvae.comparison.bounds.subject import Subject
from ppvae.comparison.bounds.weights import weights_restored
from ppvae.diagnostics.estimator.noise import Noise
from ppvae.settings import CompareBounds

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fit_and_measure(
    asked: CompareBounds, subject: Subject, fabric: "Fabric", count: Callable[[], None]
) -> tuple[dict[str, list[AlternatingFit]], dict[str, Noise]]:
    """Fits in alternation, and the noise at fixed weights, by bound.

    Args:
        asked: the settings of the comparison.
        subject: the program.
        fabric: the device.
        count: called after each epoch and draw, `total` times in all.
    """
    seed, draws, epochs = asked.seed, asked.draws, asked.epochs
    plans = [plan_of(subject.settings, epochs, seed + i) for i in range(asked.seeds)]
    fits: dict[str, list[AlternatingFit]] = {SAMPLED: [], ANALYTIC: []}
    noises: dict[str, Noise] = {}
    if subject.weights is not None:
        noises = measure_noise(subject, subject.weights, fabric, draws, seed, count)
    for plan in plans:
        with weights_restored(subject.build(plan.seed)) as pair:
            ended = fit_alternately(subject, pair, plan, fabric, count)
            for name, fit in ended.items():
                fits[name].append(fit)
            if not noises:
                weights = ended[ANALYTIC].weights
                noises = measure_noise(subject, weights, fabric, draws, seed, count, pair)
        for fit in ended.values():
            fit.forget()
    return fits, noises


def total(asked: CompareBounds) -> int:
    """The number of epochs and draws of a comparison."""
    return 2 * (asked.seeds * asked.epochs + asked.draws)


def compared(
    asked: CompareBounds,
    subject: Subject,
    fits: Mapping[str, Sequence[AlternatingFit]],
    noises: Mapping[str, Noise],
    path: Path,
) -> Comparison:
    """The figures of both bounds, and the conclusion."""
    exact = tuple(sorted(subject.audits[ANALYTIC].exact))
    steps = fits[ANALYTIC][0].steps[-1]
    sides = {name: side_of(noises[name], of_name) for name, of_name in fits.items()}
    ratio, difference = time_ratio(fits), held_out_difference(sides)
    in_closed_form = f"the KL of {', '.join(exact)} in closed form, the rest by Monte Carlo"
    fresh = f"{ANALYTIC}, seed {asked.seed}, after {asked.epochs} epochs"
    return Comparison(
        sides=sides,
        time_ratio=ratio,
        held_out_difference=difference,
        steps=steps,
        draws=asked.draws,
        seeds=asked.seeds,
        exact=exact,
        estimator=in_closed_form if exact else "Monte Carlo",
        weights=subject.where or fresh,
        notes=subject.audits[ANALYTIC].notes,
        sentence=conclusion(sides, ratio, difference, steps, exact),
        path=path,
    )
