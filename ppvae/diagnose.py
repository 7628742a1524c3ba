"""Diagnose a run: how good is the bound, and why (model, guide, encoder, optimizer or noise)?

python -m ppvae.diagnose runs/digits-20260101-120000 --quick       # a few minutes
python -m ppvae.diagnose RUN                                       # results to quote
python -m ppvae.diagnose RUN --data new.npy                        # on other data
python -m ppvae.diagnose RUN --only evidence --samples 50000       # one question
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()
    from ppvae.cli.answering import start

    start("diagnose")

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.data import Split
from ppvae.data.progress import shown_by
from ppvae.diagnostics.answer import Answer
from ppvae.diagnostics.verdict import Diagnosis
from ppvae.encode import opened_run, rows_of
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import restored
from ppvae.run import Run
from ppvae.run.store import WriteError, writing
from ppvae.settings import Diagnose, Rows, takes

if TYPE_CHECKING:
    from ppvae.diagnostics.context import Context


@takes(Diagnose)
def diagnose(asked: Diagnose) -> Diagnosis:
    """Diagnose where a fitted run loses nats, and what to change.

    Writes diagnostics.json, figures, posterior.nc (an ArviZ DataTree) and report.html, and returns
    a `Diagnosis`. The weights are unchanged; every result is a function of the seed. Questions:
    bound (its terms, use of the latents), evidence (what is log p(x)), baselines (is it better than
    simple models), gap (losses of guide and encoder), trust (is the guide reliable for each datum),
    model (would it generate such data), training (did the fit end too early, or overfit), estimator
    (which gradient estimator is best), deficits (what another part would gain).

    Raises:
        InputError: for a run or data that cannot be read, an unknown question, or an existing
            diagnosis.
    """
    return _diagnosed(asked, lambda *_: lambda _: None)


type Teller = Callable[[str, int], Callable[[Answer], None]]
"""For the name of the data and their rows, a function that is called with each answer."""


@alone
def _diagnosed(asked: Diagnose, teller: Teller) -> Diagnosis:
    from ppvae import report
    from ppvae.cli.terminal import bar, say
    from ppvae.diagnostics.context import Context
    from ppvae.diagnostics.effort import FULL, QUICK
    from ppvae.diagnostics.files import check_folder, write_diagnosis
    from ppvae.diagnostics.questions import ask_questions
    from ppvae.training.devices import one_device

    data, split, only = asked.data, asked.split, asked.only
    effort = QUICK if asked.quick else FULL
    if asked.samples is not None:
        few = min(asked.samples, FULL.trusted_samples)  # weights in memory at once
        effort = replace(effort, samples=asked.samples, trusted_samples=few)
    with contextlib.ExitStack() as held:
        held.enter_context(shown_by(bar))
        held.enter_context(restored())  # opening a run draws random numbers, and so may libraries
        opened = opened_run(asked)
        folder = _folder(opened, data, split, only, asked.out)
        held.enter_context(writing(folder))
        check_folder(folder, overwrite=asked.overwrite)
        rows = rows_of(opened, data, split, asked.data_dir, asked.label)
        chosen = one_device(asked.device)
        climbed, choosing = _data_to_climb(opened, data, split, asked.data_dir)
        context = Context(
            run=opened,
            pair=opened.pair.to(chosen),
            audit=opened.audit,
            data=rows,
            data_name=split if data is None else _name(data),
            is_own=data is None,
            train=_training_data(opened, data, split, asked.data_dir),
            climbed=climbed,
            choosing=choosing,
            effort=effort,
            seed=asked.seed,
            device=chosen,
            progress=bar,
        )
        result = ask_questions(context, only, folder, teller(context.data_name, len(rows)))
        posterior = "only some questions were asked" if only else _posterior(context, result)
        opened.pair.to("cpu")
        settings = {
            "run": opened.path.name, "data": None if data is None else _name(data),
            "split": split, "quick": asked.quick, "samples": effort.samples, "only": list(only),
            "seed": asked.seed, "device": str(chosen), "checkpoint": asked.checkpoint,
        }  # fmt: skip
        write_diagnosis(result, settings, posterior, asked.figures)
        try:
            note = report.attempt(opened, rows, data_name=context.data_name, diagnosis=folder)
        except WriteError as error:
            raise error.but("the diagnosis is complete in diagnostics.json") from error
        if note:
            say(f"note: {note}")
    return result


def _name(data: str | Path | Rows) -> str:
    return Path(data).stem if isinstance(data, (str, Path)) else "data"


def _folder(
    run: Run,
    data: str | Path | Rows | None,
    split: str,
    only: Sequence[str],
    out: str | Path | None,
) -> Path:
    """The run for all questions on its test data, else a folder in the run."""
    if out is not None:
        return Path(out)
    about = [] if data is None and split == "test" else [split if data is None else _name(data)]
    parts = [*about, *only]
    return run.path / "-".join(["diagnostics", *parts]) if parts else run.path


def _training_data(
    run: Run, data: str | Path | Rows | None, split: str, data_dir: str | Path | None
) -> Split | None:
    """The training data of the run, unless they are examined or no longer exist."""
    if data is None and split == "train":
        return None
    try:
        return rows_of(run, None, "train", data_dir, None)
    except InputError:
        if data is None:
            raise
        return None  # new data can be examined without them


def _data_to_climb(
    run: Run, data: str | Path | Rows | None, split: str, data_dir: str | Path | None
) -> tuple[Split | None, Split | None]:
    """The data for further training, and the validation data, which select weights.

    There are none if the training data are examined or no longer exist. Test data select nothing:
    they are only reported.
    """
    try:
        own = run.data(None if data_dir is None else Path(data_dir)).splits
    except InputError:
        return None, None
    examined = split if data is None else ""
    return (None if examined == "train" else own["train"]), own["valid"].frozen(0)


def _posterior(context: "Context", result: Diagnosis) -> bytes | str:
    """Draws for ArviZ for some of the examined data, with the calibration; or why there are none.

    A failure here does not lose the answers.
    """
    from ppvae.arviz import to_datatree
    from ppvae.diagnostics.answer import first
    from ppvae.diagnostics.trust.answer import TrustAnswer

    trust = first(result.answers.values(), TrustAnswer)
    try:
        tree = to_datatree(
            context.run,
            context.data,
            rows=context.order[: context.effort.kept_rows].tolist(),
            draws=context.effort.kept_draws,
            samples=context.effort.samples,
            seed=context.seed,
            calibration=None if trust is None else trust.calibration,
            device=context.device,
        )
    except InputError as error:
        return str(error)
    return bytes(tree.to_netcdf(None, engine="h5netcdf"))


def show_answers(data: str, rows: int) -> Callable[[Answer], None]:
    """Say what is examined, and give a function that prints an answer, or why there is none."""
    from ppvae.cli.flags_in_sentences import in_flags
    from ppvae.cli.terminal import say, show_table

    say(f"{data} data, {rows:,} rows; nats per datum, +- one standard error")

    def show(answer: Answer) -> None:
        if answer.rows:
            show_table(answer.question, ("", "value", ""), answer.rows)
        for part, why in answer.refusals.items():
            say(in_flags(f"note: {part}: {why}"))

    return show


def show_verdict(result: Diagnosis) -> None:
    """Print the deficits, the verdict, and what to do next."""
    from ppvae.cli.flags_in_sentences import in_flags
    from ppvae.cli.terminal import say, show_table
    from ppvae.diagnostics.shared.wording import plus_minus, with_error

    deficits = [
        (
            each.part, plus_minus(each.nats, each.error),
            "-" if each.held is None else with_error(each.held), in_flags(each.remedy),
        )
        for each in result.verdict.deficits
    ]  # fmt: skip
    if deficits:
        columns = ("", "lost", "others fixed", "what to change")
        show_table("Where nats are lost (not a sum)", columns, deficits)
    say("Verdict")
    for sentence in result.verdict.sentences:
        say(f"  {in_flags(sentence)}")
    names = ("diagnostics.json", "figures", "posterior.nc", "report.html")
    there = ", ".join(name for name in names if (result.path / name).exists())
    say(f"everything is in {result.path}: {there}")
    change = result.verdict.sentences[0].partition(" Change: ")[2]
    say(f"next: {in_flags(change) or f'read {result.path / "report.html"}'}")


def main(argv: Sequence[str]) -> None:
    """The command: diagnose, and show each answer when it is there."""
    show_verdict(
        _diagnosed(Diagnose.of_arguments(**given_settings("diagnose", argv)), show_answers)
    )


if __name__ == "__main__":
    answer(main, sys.argv[1:])
