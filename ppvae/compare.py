"""Two estimators of one bound, side by side: Pyro's ``Trace_ELBO`` and ``TraceMeanField_ELBO``.

python -m ppvae.compare                                            # offline, under a minute
python -m ppvae.compare --seeds 10 --epochs 50 --draws 1000        # tighter errors
python -m ppvae.compare --run runs/digits-20260101-120000          # a program that was fitted
python -m ppvae.compare --data mnist --binarize dynamic --particles 8
python -m ppvae.compare --likelihood Gaussian --decoder MLP --decoder.hidden 200,200
python -m ppvae.compare --model mine.model --guide mine.guide      # your own Pyro programs
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("compare")

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.comparison.alternating import AlternatingFit, fit_alternately, plan_of
from ppvae.comparison.files import check_folder, write_comparison
from ppvae.comparison.noise import measure_noise
from ppvae.comparison.result import ANALYTIC, SAMPLED, Comparison
from ppvae.comparison.sentence import conclusion
from ppvae.comparison.statistics import held_out_difference, side_of, time_ratio
from ppvae.comparison.subject import Subject, new_subject, subject_of
from ppvae.comparison.table import table_rows
from ppvae.comparison.weights import weights_restored
from ppvae.diagnostics.estimator.noise import Noise
from ppvae.programs.isolation import alone
from ppvae.programs.streams import restored
from ppvae.run import Run
from ppvae.run.folder import free_folder
from ppvae.settings import Compare, takes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@alone
@takes(Compare)
def compare(asked: Compare) -> Comparison:
    """Put Trace_ELBO and TraceMeanField_ELBO side by side on one program.

    Each seed's fits begin at the same weights and take the same batches, an epoch of the one and
    an epoch of the other in turns, so that what else the machine does falls on both. Values and
    gradients are taken on one batch, at the weights of the run, or at those that the first seed's
    fit by TraceMeanField_ELBO ended at. Held-out bounds are those of the valid data, by
    TraceMeanField_ELBO for both: the KL in closed form where there is one. The caller's random
    state is left as it was, and so are the weights of programs handed in as objects.

    Raises:
        InputError: for what cannot be compared, such as a guide with a point mass, or a pair that
            TraceMeanField_ELBO would be wrong for.
    """
    if asked.out is not None:
        check_folder(Path(asked.out), overwrite=asked.overwrite)
    with restored():  # imports too may draw from the generators
        from ppvae.cli.terminal import say
        from ppvae.training.processes import launch

        subject = new_subject(asked) if asked.run is None else subject_of(_opened(asked), asked)
        fabric = launch(asked.device, 1, subject.settings.precision)
        say(subject.data.describe())
        for note in subject.audits[ANALYTIC].notes:
            say(f"note: {note}")
        fits, noises = _measured(asked, subject, fabric)
        result = _compared(asked, subject, fits, noises)
        setting = {"epochs": asked.epochs, "seed": asked.seed, "device": str(fabric.device)}
        write_comparison(result, subject.record | setting, overwrite=asked.overwrite)
    return result


def _measured(
    asked: Compare, subject: Subject, fabric: "Fabric"
) -> tuple[dict[str, list[AlternatingFit]], dict[str, Noise]]:
    """Fits in turns, and the noise at fixed weights once these are there; by bound."""
    from ppvae.cli.terminal import bar

    seed, draws, epochs = asked.seed, asked.draws, asked.epochs
    plans = [plan_of(subject.settings, epochs, seed + i) for i in range(asked.seeds)]
    fits: dict[str, list[AlternatingFit]] = {SAMPLED: [], ANALYTIC: []}
    noises: dict[str, Noise] = {}
    with bar("comparing", 2 * (asked.seeds * epochs + draws)) as count:
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


def _compared(
    asked: Compare,
    subject: Subject,
    fits: Mapping[str, Sequence[AlternatingFit]],
    noises: Mapping[str, Noise],
) -> Comparison:
    """The figures of both bounds, and what they say."""
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
        path=(
            free_folder(Path("runs"), f"compare-{subject.data.name}")
            if asked.out is None
            else Path(asked.out)
        ),
    )


def _opened(asked: Compare) -> Run:
    return asked.run if isinstance(asked.run, Run) else Run(str(asked.run), trust=asked.trust)


def show(result: Comparison) -> None:
    """Print the figures of both bounds side by side, the conclusion, and where it all is."""
    from ppvae.cli.terminal import say, show_table

    title = f"nats per datum; {result.draws} repetitions, {result.seeds} seed(s)"
    show_table(title, ("", SAMPLED, ANALYTIC), table_rows(result))
    say(f"same weights: {result.weights}; held-out bounds of both: {result.estimator}")
    say(result.sentence)
    say(f"everything is in {result.path}: comparison.json, figures/compare.png")


def main(argv: Sequence[str]) -> None:
    """The command: compare, and show."""
    show(compare(**given_settings("compare", argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
