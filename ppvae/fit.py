"""The main job: fit a variational autoencoder, and say how good it is.

python -m ppvae.fit                                                # offline, under a minute
python -m ppvae.fit --data mnist --binarize dynamic --epochs 20    # MNIST
python -m ppvae.fit --likelihood Gaussian --likelihood.variance learned
python -m ppvae.fit --guide Delta --beta 0                         # the plain autoencoder
python -m ppvae.fit --data table.csv --label kind --likelihood Gaussian
python -m ppvae.fit --model mine.model --guide mine.guide          # your own Pyro programs
python -m ppvae.fit --resume runs/digits-20260101-120000           # go on where it stopped
python -m ppvae.fit --config runs/digits-20260101-120000/config.yaml --seed 1
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from ppvae.bounds.audit import audit
from ppvae.cli.parsing import answer, given_arguments
from ppvae.components.building import DEFAULTS
from ppvae.components.factory import factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.spec import Spec
from ppvae.components.support import check_density, check_labels, check_support, values_of
from ppvae.data import Binarize, Data, Scale, scaled_as, suited
from ppvae.errors import InputError
from ppvae.networks import is_positive
from ppvae.programs import Program
from ppvae.programs.classification import has_classes
from ppvae.programs.failures import explained
from ppvae.programs.isolation import alone
from ppvae.programs.streams import seed_process
from ppvae.run import Run, refuse_occupied
from ppvae.training.fitting import say_once, train
from ppvae.training.introduction import introduce
from ppvae.training.preparation import (
    Part,
    check_made_again,
    few,
    free_folder,
    labels_hidden,
    make_loop,
    maker_of,
    meet,
    part_of,
    read_data,
    recorded,
    resolved,
    true_labels,
)
from ppvae.training.ranks import in_ranks
from ppvae.training.settings import decide_compile, demand_types, plan_of
from ppvae.training.trial import check_numbers

__all__ = ["fit", "resume"]


@in_ranks
@alone
def fit(
    data: str | Path | Data = "digits",
    data_dir: str | Path | None = None,
    label: str | None = None,
    labels: int | None = None,
    binarize: Binarize | None = None,
    scale: Scale | None = None,
    model: Part = None,
    prior: Part = None,
    likelihood: Part = None,
    decoder: Part = None,
    guide: Part = None,
    encoder: Part = None,
    latent_dim: int = 20,
    elbo: Part = "TraceMeanField_ELBO",
    particles: int = 1,
    beta: float = 1.0,
    warm_up: int = 0,
    epochs: int = 100,
    patience: int | None = None,
    batch_size: int = 64,
    optimizer: Part = "Adam",
    lr: float = 2e-3,
    schedule: Part = "CosineAnnealingLR",
    clip: float | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    devices: int = 1,
    precision: Literal["32", "64", "bf16-mixed"] = "32",
    compile: Literal["auto", "on", "off"] = "auto",
    tensorboard: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    oversubscribe: bool = False,
    trust: Sequence[str] = (),
) -> Run:
    """Fit a model p(x, z) and a guide q(z | x) by climbing a bound on log p(x).

    What it leaves is a run directory; what it returns is that directory, opened at its best
    weights. Each part is a class name, or in Python also a class; model and guide may be any Pyro
    programs.

    The process is left as it was found: generators, warning filters, log levels, environment. One
    thread at a time can fit, for Pyro's handlers are one per process. SIGINT writes a checkpoint
    and raises ``KeyboardInterrupt``; SIGTERM writes one and raises ``SystemExit(143)``, so that the
    caller's ``finally`` runs. A second signal does not wait for the checkpoint.

    With several ``devices`` each process but the first starts the calling script anew, and all of
    them run all of it: ``fit`` is called with the same arguments in each, and returns the same run.
    What is to happen once is left to the first::

        run = fit(data="mnist", devices=2, out="runs/two")
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(run.summary)

    The processes, and the environment variables that they know each other by, stay until the
    script ends. If one dies, the fit ends with an `InputError` that names it, and the others end
    too. Interactive sessions have no script: take ``python -m ppvae.fit --devices 2``.

    Args:
        data: a known name (digits, mnist, fashion-mnist, kmnist, omniglot, binarized-mnist, or an
            image set of torchvision), or a path: .npy, .npz, .csv, or a folder of images.
        data_dir: where published data lie, or are downloaded to (default: $PPVAE_DATA, else
            ~/.cache/ppvae).
        label: the column of a .csv that holds the labels.
        labels: how many labels of the training data are kept, evenly over classes; the others, and
            all of the held-out data, are not known then; default: all are.
        binarize: dynamic (drawn anew for training), static (drawn once), threshold (at 0.5), or
            none; default: dynamic for the digits under a likelihood of zeros and ones, else none.
        scale: none (values as they are), unit (divided by the largest there may be), or standardize
            (mean 0, deviation 1 in training); default: by type, range and likelihood.
        model: the generative program; default VAE.
        prior: p(z); default StandardNormal.
        likelihood: p(x | z); default Bernoulli.
        decoder: the network from z to the likelihood's numbers; default MLP.
        guide: the variational program; default MeanField.
        encoder: the network from x to the guide's numbers; default an MLP of two hidden layers.
        latent_dim: number of latent dimensions.
        elbo: the bound that is climbed.
        particles: draws of the latents per datum and step.
        beta: weight of the KL in what is climbed; the bound is always reported at 1.
        warm_up: epochs over which the weight of the KL rises linearly from 0.
        epochs: passes over the training data.
        patience: stop after so many epochs without a better held-out objective; default: never.
        batch_size: data per step, all processes together.
        optimizer: a class of torch.optim.
        lr: learning rate.
        schedule: a class of torch.optim.lr_scheduler, stepped once an epoch, or none.
        clip: largest norm of the gradient, in nats per datum; default: unclipped.
        seed: of initial weights, order of the data, and noise; 0 to 2**32 - 1.
        device: where to compute.
        devices: number of processes, each on a device of its own.
        precision: 32, 64, or bf16-mixed (networks in bfloat16, densities in float32).
        compile: the training step as one native graph: on, off, or auto (where it wins back the
            time that compiling takes, by the number and the size of the steps).
        tensorboard: write TensorBoard events beside metrics.csv.
        out: the run directory; default runs/<data>-<time>.
        overwrite: replace a run that is there already.
        oversubscribe: allow more processes than there are cores.
        trust: a module that parts named in a file may be imported from; can be repeated.

    Raises:
        InputError: for what cannot be fitted, in one sentence with the way out.
        KeyboardInterrupt: once the checkpoint is written, after SIGINT.
    """
    settings = {
        "data": recorded(data),
        "data_dir": None if data_dir is None else str(Path(data_dir).resolve()),
        "label": label,
        "labels": labels,
        "binarize": binarize,
        "scale": scale,
        **dict.fromkeys(DEFAULTS),
        "latent_dim": latent_dim,
        "elbo": None,
        "particles": particles,
        "beta": beta,
        "warm_up": warm_up,
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "optimizer": None,
        "lr": lr,
        "schedule": None,
        "clip": clip,
        "seed": seed,
        "device": device,
        "devices": devices,
        "precision": precision,
        "compile": compile,
        "tensorboard": tensorboard,
    }
    plan = plan_of(settings)
    if latent_dim < 1:
        raise InputError(f"latent_dim is {latent_dim}; a latent needs at least 1 dimension")
    if particles < 1:
        raise InputError(f"particles is {particles}; it must be at least 1")
    from ppvae.training.devices import Compile, launch

    if compile not in get_args(Compile):
        raise InputError(f"compile is {compile!r}, not one of {', '.join(get_args(Compile))}")
    if not is_positive(lr):
        raise InputError(f"lr is {lr}; a learning rate is above 0 and finite")
    parts = {
        "model": model, "prior": prior, "likelihood": likelihood,
        "decoder": decoder, "guide": guide, "encoder": encoder,
    }  # fmt: skip
    chosen = {name: part_of(name, value) for name, value in parts.items()}
    bound_maker = maker_of("elbo", elbo, trust)
    optimizer_maker = maker_of("optimizer", optimizer, trust)
    pace = part_of("schedule", schedule)
    is_constant = pace is None or (isinstance(pace, Spec) and pace.class_path == "none")
    if isinstance(pace, Spec) and is_constant and pace.init_args:
        raise InputError(
            f"--schedule.{next(iter(pace.init_args))} has no effect with --schedule none; leave it "
            "out, or name a schedule"
        )
    schedule_maker = None if is_constant else maker_of("schedule", schedule, trust)
    if out is not None:
        refuse_occupied(Path(out), overwrite=overwrite)

    # Data, and the two programs that meet on it.
    fabric = launch(device, devices, precision, oversubscribe=oversubscribe)
    say_once(fabric, "reading the data")
    everything = read_data(data, data_dir, label, binarize or "none", scale)
    meeting = meet(everything, chosen, bound_maker, settings, trust)
    may_binarize = binarize is None and not isinstance(data, Data)
    likelihood_of = values_of(meeting.facts)
    everything = suited(everything, likelihood_of, scale, may_binarize=may_binarize)
    if everything is not meeting.everything:
        meeting = meet(everything, chosen, bound_maker, settings, trust)
    found, batch, assembly, pair, facts = (
        meeting.data, meeting.batch, meeting.assembly, meeting.pair, meeting.facts
    )  # fmt: skip
    check_support(found, facts)
    batch = found.train.take(torch.arange(len(batch["x"])))
    check_numbers(pair, batch)
    check_density(pair, facts, batch)
    if labels is not None and not has_classes(facts):
        raise InputError(
            f"--labels {labels} hides labels from a model that infers them; take --model "
            "SemiSupervisedVAE --guide SemiSupervised --elbo TraceEnum_ELBO, or leave it out"
        )
    check_labels(found, pair, facts)

    example = few(batch)
    check_made_again(assembly, found, pair, example, latent_dim, trust)

    # What climbs, and where it is written.
    is_compiled = decide_compile(settings, found, pair, fabric)
    loop = make_loop(
        pair, bound_maker, facts, optimizer_maker, schedule_maker, settings, plan, found, fabric,
        compile=is_compiled,
    )  # fmt: skip
    settings |= assembly.parts | {
        "binarize": found.binarize,
        "elbo": bound_maker.choice.plain(),
        "optimizer": optimizer_maker.choice.plain(),
        "schedule": None if schedule_maker is None else schedule_maker.choice.plain(),
    }
    facts_of_run = resolved(found, batch, pair, fabric)
    facts_of_run |= {"compiled": is_compiled, "log_counts": assembly.log_counts}
    config = settings | {"run": facts_of_run}
    folder = Path(out) if out is not None else free_folder(Path("runs"), found.name)
    folder = Path(fabric.broadcast(str(folder)))  # a name by the clock is not the same everywhere
    state = loop.state()
    if fabric.is_global_zero:
        run = Run.create(folder, config, state, example, overwrite=overwrite)
        with run.given_back_on_failure():
            introduce(found, bound_maker, loop.bound, fabric, folder, beta, is_compiled)
    fabric.barrier()
    if not fabric.is_global_zero:
        run = Run(folder)
    # The bound was typed here, or trusted: the run that is opened at the end may have it too.
    trusted = (*trust, bound_maker.target.__module__)
    programs = (assembly.model, assembly.guide)
    return train(run, loop, found, fabric, programs, trusted, true_labels(everything))


@in_ranks
@alone
def resume(
    run: str | Path,
    epochs: int | None = None,
    patience: int | None = None,
    data_dir: str | Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    tensorboard: bool | None = None,
    oversubscribe: bool = False,
    trust: Sequence[str] = (),
    model: Program | None = None,
    guide: Program | None = None,
    data: Data | None = None,
    checkpoint: Literal["last", "best"] = "last",
) -> Run:
    """Go on with a fit from its last checkpoint, bit by bit as if it had never stopped.

    Args:
        run: the run directory.
        epochs: passes over the data in all; default: as the fit was begun.
        patience: as in `fit`; default: as the fit was begun.
        data_dir: where published data lie now; default: as the fit was begun.
        device: where to compute; default: as the fit was begun.
        tensorboard: write TensorBoard events from here on; default: as the fit was begun.
        oversubscribe: allow more processes than there are cores.
        trust: a module that the run's own parts may be imported from; can be repeated.
        model: the model itself, for a fit that was begun with an object.
        guide: the guide itself, likewise.
        data: the data itself, likewise.
        checkpoint: where to go on from: last, or best, where last is damaged.

    Raises:
        InputError: if there is nothing to go on with, it is damaged, or another process writes it.
    """
    found_run = Run(run, trust=trust, checkpoint=checkpoint, model=model, guide=guide)
    config = dict(found_run.config)
    changes = {"epochs": epochs, "patience": patience, "device": device, "tensorboard": tensorboard}
    config |= {name: value for name, value in changes.items() if value is not None}
    if epochs is not None and epochs != found_run.config.get("epochs") and config.get("schedule"):
        raise InputError(
            f"the learning-rate schedule of {run} was laid out for "
            f"{found_run.config.get('epochs')} epochs; go on without --epochs, or fit anew with "
            "--schedule none, whose epochs can be added to"
        )
    from ppvae.training.devices import launch

    demand_types(config, found_run.path)
    plan = plan_of(config)

    fabric = launch(
        config["device"], config["devices"], config["precision"], oversubscribe=oversubscribe
    )
    with found_run.given_back_on_failure():
        if fabric.is_global_zero:
            found_run.begin_writing()
        state = found_run.resumable(checkpoint)
        say_once(fabric, "reading the data")
        where = None if data_dir is None else Path(data_dir)
        if data is None:
            everything = found_run.data(where, hidden=False)
        else:
            found_run.demand_fitted_to(data)
            everything = data if data.source is None else scaled_as(data, found_run.scaling)
        found = labels_hidden(everything, config)
        seed_process(plan.seed)
        pair = found_run.build().to(torch.float32)
        batch = found.train.take(torch.arange(min(plan.batch_size, len(found.train))))
        makers = {
            kind: None
            if config.get(kind) is None
            else factory_of(KINDS[kind], Spec.parse(config[kind], kind, trusted=False), trust)
            for kind in ("elbo", "optimizer", "schedule")
        }
        elbo, optimizer = makers["elbo"], makers["optimizer"]
        if elbo is None or optimizer is None:
            raise InputError(f"{run}/config.yaml names no elbo or no optimizer; it was damaged")
        with explained(f"on the first {len(batch['x'])} rows"):
            facts = audit(pair, elbo.target, batch)
        check_support(found, facts)  # the file may hold other data by now
        loop = make_loop(
            pair, elbo, facts, optimizer, makers["schedule"], config, plan, found, fabric,
            compile=config["run"].get("compiled") is True,
        )  # fmt: skip
        loop.load_state(state)
        if fabric.is_global_zero:
            found_run.rewind(state, is_done=loop.is_done)
            if config != found_run.config:
                found_run.write_config(config)
            say_once(fabric, f"going on with {found_run.path} after {loop.progress.step} steps")
        fabric.barrier()
        programs = (pair.program("model"), pair.program("guide"))
        return train(found_run, loop, found, fabric, programs, trust, true_labels(everything))


def main(argv: Sequence[str]) -> None:
    """The command: a fit, or with ``--resume`` one that goes on."""
    given = given_arguments(fit, argv, more=[_resume_flag])
    if "resume" not in given:
        if "checkpoint" in given:
            raise InputError("--checkpoint says where --resume goes on from: give that too")
        fit(**given)
        return
    allowed = {
        "epochs", "patience", "data_dir", "device", "tensorboard", "oversubscribe", "trust",
        "checkpoint",
    }  # fmt: skip
    folder = given.pop("resume")
    for name in given.keys() - allowed:
        flags = ", ".join(f"--{n.replace('_', '-')}" for n in sorted(allowed))
        raise InputError(
            f"--{name.replace('_', '-')} cannot change in a fit that goes on: --resume takes "
            f"{flags}; for another setting start anew with --config {folder}/config.yaml"
        )
    resume(folder, **given)


def _resume_flag(resume: str | None = None, checkpoint: Literal["last", "best"] = "last") -> None:
    """Flags of the command alone.

    Args:
        resume: a run directory to go on with, from its last checkpoint.
        checkpoint: with --resume: last, or best, where last is damaged.
    """


if __name__ == "__main__":
    answer(main, sys.argv[1:])
