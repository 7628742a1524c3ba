"""Fit a variational autoencoder, and report how good it is.

python -m ppvae.fit                                                # offline, under a minute
python -m ppvae.fit --data mnist --binarize dynamic --epochs 20    # MNIST
python -m ppvae.fit --likelihood Gaussian --likelihood.variance per-pixel
python -m ppvae.fit --guide Delta --beta 0                         # the plain autoencoder
python -m ppvae.fit --data table.csv --label kind --likelihood Gaussian
python -m ppvae.fit --model mine.model --guide mine.guide          # your own Pyro programs
python -m ppvae.fit --resume runs/digits-20260101-120000           # resume a stopped fit
python -m ppvae.fit --seeds 3 --out runs/three                     # one run for each of three seeds
python -m ppvae.fit --start runs/first --data more.npy             # from the weights of a run
torchrun --nproc-per-node 2 -m ppvae.fit --out runs/two            # in two processes
python -m ppvae.fit --config runs/digits-20260101-120000/config.yaml --seed 1
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("fit")

import signal
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ppvae.cli.answering import answer
from ppvae.cli.epoch_bar import EpochBar
from ppvae.cli.flags_in_sentences import flag, spoken
from ppvae.cli.given import given_settings
from ppvae.cli.silence import quiet_where_asked
from ppvae.cli.terminal import bar, say, show_introduction, show_seeds, show_summary, teller
from ppvae.data import Data
from ppvae.data.progress import shown_by
from ppvae.errors import InputError
from ppvae.fitted import Run
from ppvae.programs.isolation import alone
from ppvae.run import check_unoccupied
from ppvae.run.folder import in_free_folder
from ppvae.run.store import PrivateFolder
from ppvae.settings import FitCommand, Resume, Settings, settings_of, takes
from ppvae.training.agreement import all_agree, check_alike, check_seen
from ppvae.training.chosen_parts import chosen_parts, recorded_parts
from ppvae.training.data_and_programs import (
    check_made_again,
    data_again,
    few,
    meet_suited,
    programs_again,
    true_labels,
)
from ppvae.training.epochs import train, writing_fit
from ppvae.training.processes import Processes, launch
from ppvae.training.ranks import in_ranks, ranks
from ppvae.training.record import config_of
from ppvae.training.restarts import begun_before, digest_of
from ppvae.training.seeds import per_seed
from ppvae.training.setup import decide_compile, make_trainer, order_of
from ppvae.training.sizes import room_of
from ppvae.training.starting import with_parts_of_start
from ppvae.training.summary import summarize
from ppvae.training.tracking import Tracking

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric

    from ppvae.training.trainer import Trainer


@in_ranks
@alone
@takes(Settings)
@per_seed
@quiet_where_asked
def fit(settings: Settings) -> Run:
    """Fit a model p(x, z) and a guide q(z | x) by maximizing a bound on log p(x).

    Writes a run directory and returns it, opened at its best weights, or with ``seeds`` a list of
    runs. With ``in_memory`` the run lasts as long as the returned object. Each part is a class
    name, or in Python also a class; model and guide may be any Pyro programs.

    The state of the process is restored: random generators, warning filters, log levels,
    environment. Only one thread at a time can fit, since Pyro's handlers are global. SIGINT writes
    a checkpoint and raises ``KeyboardInterrupt``; SIGTERM writes one and raises
    ``SystemExit(143)``, so that the caller's ``finally`` runs. A second signal does not wait for
    the checkpoint.

    With several ``devices`` the other processes run the calling script again, as a whole: ``fit``
    is called with the same arguments in each, and returns the same run. The same holds for a script
    started by ``torchrun``, on one machine or several. Guard what should happen once::

        run = fit(data="mnist", devices=2, out="runs/two")
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several machines: "RANK"
            print(run.summary)

    The processes, and the environment variables by which they find each other, last until the
    script ends. If one dies, the fit ends with an `InputError` that names it, and the others end
    too. Restarted by ``torchrun --max-restarts``, it resumes from its last checkpoint. Interactive
    sessions have no script: use ``python -m ppvae.fit --devices 2``.

    Raises:
        InputError: for invalid input, in one sentence with the way out.
        KeyboardInterrupt: once the checkpoint is written, after SIGINT.
    """
    if (begun := begun_before(settings)) is not None:
        return _go_on(begun)
    asked, processes = digest_of(settings), Processes.of(settings.devices, settings.nodes)
    settings = replace(settings, devices=processes.devices, nodes=processes.nodes)
    settings = with_parts_of_start(settings)
    chosen = chosen_parts(settings)
    if settings.out is not None:
        check_unoccupied(Path(settings.out), overwrite=settings.overwrite)

    # Data, and the two programs.
    fabric = launch(
        settings.device, settings.precision, processes, oversubscribe=settings.oversubscribe
    )
    tell = teller(fabric)
    tell("reading the data")
    with shown_by(bar):
        meeting = meet_suited(settings, chosen)
    example = few(meeting.batch)
    check_made_again(meeting, example, settings)
    check_alike(fabric, asked, meeting.data, meeting.pair)

    # The bound, and the trainer.
    data, pair = meeting.data, meeting.pair
    is_anew = data.binarize == "dynamic"
    settings = settings.laid_out(order_of(settings, data, fabric).whole, is_anew=is_anew)
    is_compiled = all_agree(fabric, decide_compile(settings, data, pair, fabric))
    with shown_by(bar):
        trainer = make_trainer(
            settings, chosen, pair, meeting.facts, data, fabric, compile=is_compiled
        )

    # The run directory.
    config = config_of(
        settings, chosen, meeting, trainer, is_compiled=is_compiled,
        asked=asked if processes.may_restart else None,
    )  # fmt: skip
    home = PrivateFolder(room_of(pair)) if settings.in_memory else None
    place = settings.out if home is None else home.path / "run"
    create = partial(
        Run.create, config=config, state=trainer.state(), example=example,
        overwrite=settings.overwrite,
    )  # fmt: skip
    folder = ""
    if fabric.is_global_zero:
        run = create(Path(place)) if place is not None else in_free_folder(data.name, create)
        folder = str(run.path)
        with run.given_back_on_failure():
            where = f"writing to {folder}" if home is None else "kept in memory"
            show_introduction(data, chosen, trainer, where, is_compiled=is_compiled)
    folder = fabric.broadcast(folder)  # a name by the clock may differ between processes
    with run.given_back_on_failure(is_new=True) if fabric.is_global_zero else nullcontext():
        check_seen(fabric, Path(folder))
    if not fabric.is_global_zero:
        run = Run(folder)
    run.home = home
    # The bound was typed here, or trusted: the run opened at the end may use it too.
    trusted = (*settings.trust, chosen.elbo.target.__module__)
    return _climb(run, trainer, data, fabric, trusted, meeting.everything)


@in_ranks
@alone
@takes(Resume)
def resume(asked: Resume) -> Run:
    """Resume a fit from its last checkpoint, bit for bit as if it had never stopped.

    Raises:
        InputError: if there is no run, it is damaged, or another process writes it.
    """
    return _go_on(asked)


def _go_on(asked: Resume) -> Run:
    """See `resume`."""
    trust, programs = asked.trust or (), {"model": asked.model, "guide": asked.guide}
    run = Run(asked.run, trust=trust, checkpoint=asked.checkpoint, **programs)
    begun = Settings.of(run.config, run.path / "config.yaml")
    processes = Processes.of(asked.devices, asked.nodes, (begun.devices or 1, begun.nodes or 1))
    there = {"devices": processes.devices, "nodes": processes.nodes}
    changes = {n: v for n, v in (asked.changes() | there).items() if v != run.config.get(n)}
    settings = replace(begun, **changes, trust=trust, tracker=asked.tracker, figures=asked.figures)
    if settings.epochs != begun.epochs and begun.schedule:
        raise InputError(
            f"the learning-rate schedule of {run.path} was made for {begun.epochs} epochs; resume "
            "without `epochs`, or fit again with `schedule='none'`, which can be extended"
        )
    # The resolved `precision='auto'` is kept, also on a device that would choose another.
    precision = run.resolved.get("precision", settings.precision)
    fabric = launch(settings.device, precision, processes, oversubscribe=bool(asked.oversubscribe))
    tell = teller(fabric)
    with run.given_back_on_failure():
        if fabric.is_global_zero:
            run.begin_writing()
        state = run.resumable(asked.checkpoint)

        # Data, programs and bound of the fit.
        tell("reading the data")
        run.data_memory = asked.data_memory
        with shown_by(bar):
            everything = data_again(run, asked.data, asked.data_dir)
            chosen = recorded_parts(run.config, trust)
            data, pair, facts = programs_again(run, settings, chosen, everything)
            check_alike(fabric, digest_of(settings), data, pair)
            trainer = make_trainer(
                settings, chosen, pair, facts, data, fabric,
                compile=run.resolved["compiled"] is True, recorded=run.resolved,
            )  # fmt: skip
        trainer.load_state(state)
        if fabric.is_global_zero:
            run.rewind(state, is_done=trainer.is_done)
            if changes:
                run.write_config(run.config | changes)
            tell(f"resuming {run.path} after {trainer.progress.step} steps")
        fabric.barrier()
        return _climb(run, trainer, data, fabric, trust, everything)


def _climb(
    run: Run,
    trainer: "Trainer",
    data: Data,
    fabric: "Fabric",
    trust: Sequence[str],
    everything: Data,
) -> Run:
    """Train and record each epoch; then evaluate the best weights, draw figures, and report.

    Once the checkpoint is written, SIGINT ends in ``KeyboardInterrupt``, and SIGTERM in
    ``SystemExit(143)``.

    Raises:
        WriteError: if the disk is full, with how to resume.
    """
    tell = teller(fabric)
    go_on = f"continue with `resume({str(run.path)!r})`"
    ranks.way_out = spoken(go_on)
    is_first = fabric.is_global_zero
    tracking = Tracking(trainer.plan.tracker if is_first else None, run.path)
    with closing(tracking), writing_fit(run) if is_first else nullcontext():
        epochs, done = trainer.plan.passes, trainer.progress.step
        with EpochBar(
            epochs, trainer.steps_per_epoch, done, trainer.notes, quiet=not is_first
        ) as passes:
            number = train(
                run, trainer, fabric,
                on_step=passes.step, on_compile=passes.compiling, on_epoch=passes.epoch,
                tracking=tracking,
            )  # fmt: skip
        if number:
            left = go_on if run.home is None else "nothing is kept"
            tell(f"stopped after {trainer.progress.step} steps; {left}")
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        if trainer.stopped:
            tell(f"stopped early: {trainer.stopped}")
        fabric.barrier()  # wait until the best weights are written
        # The run keeps the fitted programs themselves.
        pair = trainer.bound.pair
        fitted = Run(
            run.path, trust=trust, model=pair.program("model"), guide=pair.program("guide")
        )
        fitted.hold(pair, trainer.bound.audit)
        fitted.home = run.home
        fitted.hold_data(everything)
        if is_first:
            _conclude(fitted, trainer, data, true_labels(everything), tracking)
        fabric.barrier()
    return fitted


def _conclude(
    run: Run, trainer: "Trainer", data: Data, labels: torch.Tensor | None, tracking: Tracking
) -> None:
    """Final results on the test data with the best weights, figures, and report.

    Raises:
        WriteError: if the disk is full; what fits is kept.
    """
    # Late: they import plotting.
    from ppvae.report.figures import leave_pictures
    from ppvae.report.next_step import step_after_fit

    summary = summarize(trainer, data, labels, run.history())
    run.write_summary(summary.to_dict())
    tracking.summary(summary)
    run.pair.to("cpu")
    if run.home is not None:
        show_summary(summary)
        return
    notes, full = leave_pictures(
        run, data, summary.embedding, labels, summary.seed, trainer.plan.figures
    )
    for note in notes:
        say(f"note: {note}")
    show_summary(summary)
    if full is not None:
        raise full
    there = "metrics.csv, summary.json, checkpoints, figures, report.html"
    say(f"everything is in {run.path}: {there}")
    step = step_after_fit(run, run.summary or {})
    say(f"next: {step.command or step.sentence}", whole=True)


@in_ranks
def main(argv: Sequence[str]) -> None:
    """The command: fit, or with ``--resume`` resume a fit."""
    given = given_settings("fit", argv)
    run = given.pop("resume", None)
    if run is None:
        if "checkpoint" in given:
            raise InputError("--checkpoint needs --resume: give that too")
        fits: Any = fit(**given)
        if isinstance(fits, list):
            show_seeds(fits)
        return
    allowed = [name for name, (_, about) in settings_of(FitCommand).items() if about.may_change]
    for name in given.keys() - set(allowed):
        raise InputError(
            f"{flag(name)} cannot change in a resumed fit: --resume takes "
            f"{', '.join(sorted(map(flag, allowed)))}; for another setting start a new fit with "
            f"--config {run}/config.yaml"
        )
    resume(run, **given)


if __name__ == "__main__":
    answer(main, sys.argv[1:])
