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

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ppvae.cli.parsing import answer, given_arguments
from ppvae.comparison.climbs import Climb, climb_both, plan_of
from ppvae.comparison.estimates import measure_noise
from ppvae.comparison.folder import refuse_occupied, write_comparison
from ppvae.comparison.lending import weights_restored
from ppvae.comparison.result import ANALYTIC, SAMPLED, Comparison, Side
from ppvae.comparison.sentence import conclusion
from ppvae.comparison.statistics import held_out_difference, side_of, time_ratio
from ppvae.comparison.subject import new_subject, subject_of
from ppvae.comparison.table import show_comparison
from ppvae.data import Binarize, Data
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import check_seed, restored
from ppvae.run import Run
from ppvae.training.preparation import Part, free_folder

__all__ = ["ANALYTIC", "SAMPLED", "Comparison", "Side", "compare", "conclusion"]


@alone
def compare(
    run: str | Path | Run | None = None,
    data: str | Path | Data | None = None,
    data_dir: str | Path | None = None,
    label: str | None = None,
    binarize: Binarize | None = None,
    model: Part = None,
    prior: Part = None,
    likelihood: Part = None,
    decoder: Part = None,
    guide: Part = None,
    encoder: Part = None,
    latent_dim: int | None = None,
    particles: int | None = None,
    beta: float | None = None,
    epochs: int = 10,
    batch_size: int | None = None,
    lr: float | None = None,
    seeds: int = 3,
    seed: int = 0,
    draws: int = 100,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> Comparison:
    """Put Trace_ELBO and TraceMeanField_ELBO side by side on one program.

    Each seed's climbs begin at the same weights and take the same batches, an epoch of the one and
    an epoch of the other in turns, so that what else the machine does falls on both. Values and
    gradients are taken on one batch, at the weights of the run, or at those that the first seed's
    climb by TraceMeanField_ELBO ended at. Held-out bounds are those of the valid data, by
    TraceMeanField_ELBO for both: the KL in closed form where there is one. The caller's random
    state is left as it was, and so are the weights of programs handed in as objects.

    Args:
        run: take the program, data and settings of this run directory; default: a new program.
        data: what to fit to, as in ppvae.fit; default digits.
        data_dir: where published data lie.
        label: the column of a .csv that holds the labels.
        binarize: as in ppvae.fit.
        model: the generative program; default VAE.
        prior: p(z); default StandardNormal.
        likelihood: p(x | z); default Bernoulli.
        decoder: the network from z to the likelihood's numbers; default MLP.
        guide: the variational program; default MeanField.
        encoder: the network from x to the guide's numbers; default as in ppvae.fit.
        latent_dim: number of latent dimensions; default 20.
        particles: draws of the latents per datum and step; default: the run's, or 1.
        beta: weight of the KL in what is climbed; default: the run's, or 1.
        epochs: passes over the training data in each climb.
        batch_size: data per step; default: the run's, or 64.
        lr: learning rate; default: the run's, or 0.002.
        seeds: climbs of each bound.
        seed: the first of the seeds.
        draws: repetitions of value and gradient at the same weights.
        device: where to compute.
        out: the folder to write to; default runs/compare-<data>-<time>.
        overwrite: replace a comparison that is there already.
        trust: a module that parts named in a file may be imported from; can be repeated.

    Raises:
        InputError: for what cannot be compared, such as a guide with a point mass, or a pair that
            TraceMeanField_ELBO would be wrong for.
    """
    for name, value, least in (("seeds", seeds, 1), ("draws", draws, 4)):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    check_seed(seed)
    check_seed(seed + seeds - 1, "the last of the seeds")
    if out is not None:
        refuse_occupied(Path(out), overwrite=overwrite)
    fresh: dict[str, Any] = {
        "data": data, "label": label, "binarize": binarize, "model": model, "prior": prior,
        "likelihood": likelihood, "decoder": decoder, "guide": guide, "encoder": encoder,
        "latent_dim": latent_dim,
    }  # fmt: skip
    changes = {"particles": particles, "beta": beta, "batch_size": batch_size, "lr": lr}

    # One program, its data, and how each climb goes.
    with restored():  # imports too may draw from the generators
        from ppvae.cli.terminal import bar, say
        from ppvae.training.devices import launch

        opened = None if run is None else run if isinstance(run, Run) else Run(run, trust=trust)
        if opened is None:
            subject = new_subject(fresh, changes, data_dir, seed, trust)
        else:
            subject = subject_of(opened, fresh, changes, data_dir, seed, trust)
        plans = [plan_of(subject.settings, epochs, seed + i) for i in range(seeds)]
        fabric = launch(device, 1, subject.settings["precision"])
        say(subject.data.describe())
        for note in subject.facts[ANALYTIC].notes:
            say(f"note: {note}")

        # Climbs in turns; the noise at fixed weights once these are there.
        arms: dict[str, list[Climb]] = {SAMPLED: [], ANALYTIC: []}
        noises: dict[str, Any] = {}
        with bar("comparing", 2 * (seeds * epochs + draws)) as count:
            if subject.weights is not None:
                noises = measure_noise(subject, subject.weights, fabric, draws, seed, count)
            for plan in plans:
                with weights_restored(subject.build(plan.seed)) as pair:
                    ended = climb_both(subject, pair, plan, fabric, count)
                    for name, climb in ended.items():
                        arms[name].append(climb)
                    if not noises:
                        weights = ended[ANALYTIC].weights
                        noises = measure_noise(subject, weights, fabric, draws, seed, count, pair)
                for climb in ended.values():
                    climb.forget()

        # The figures, and what they say.
        exact = tuple(sorted(subject.facts[ANALYTIC].exact))
        sides = {name: side_of(noises[name], climbs) for name, climbs in arms.items()}
        ratio, difference = time_ratio(arms), held_out_difference(sides)
        folder = (
            Path(out)
            if out is not None
            else free_folder(Path("runs"), f"compare-{subject.data.name}")
        )
        result = Comparison(
            sides=sides,
            time_ratio=ratio,
            held_out_difference=difference,
            steps=arms[ANALYTIC][0].steps[-1],
            draws=draws,
            seeds=seeds,
            exact=exact,
            estimator=(
                "the KL of " + ", ".join(exact) + " in closed form, the rest by Monte Carlo"
                if exact
                else "Monte Carlo"
            ),
            weights=subject.where or f"{ANALYTIC}, seed {seed}, after {epochs} epochs",
            notes=subject.facts[ANALYTIC].notes,
            sentence=conclusion(sides, ratio, difference, arms[ANALYTIC][0].steps[-1], exact),
            path=folder,
        )
        setting = {"epochs": epochs, "seed": seed, "device": str(fabric.device)}
        write_comparison(result, subject.record | setting, overwrite=overwrite)
    return result


def main(argv: Sequence[str]) -> None:
    """The command: compare, and show."""
    show_comparison(compare(**given_arguments(compare, argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
