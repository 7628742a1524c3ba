"""How good is this bound, and why: model, guide, encoder, optimizer or noise?

python -m ppvae.diagnose runs/digits-20260101-120000 --quick       # about a minute
python -m ppvae.diagnose RUN                                       # the figures to quote
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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ppvae.cli.answering import answer
from ppvae.cli.given import given_settings
from ppvae.data import Split
from ppvae.diagnostics.diagnosis.result import Diagnosis
from ppvae.encode import opened_run, rows_of
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import restored
from ppvae.run import Run
from ppvae.run.store import WriteError, writing
from ppvae.settings import Diagnose, Rows, takes

__all__ = ["diagnose"]


@alone
@takes(Diagnose)
def diagnose(asked: Diagnose) -> Diagnosis:
    """Ask a fitted run where its nats are lost, and what to change.

    Writes diagnostics.json, figures, posterior.nc (an ArviZ DataTree) and report.html, and returns
    a `Diagnosis`. Nothing that was fitted moves; every figure is a function of the seed.
    Questions: bound (what is in it, is the latent used), evidence (what is log p(x)),
    gap (what guide and encoder lose), trust (is the guide to be relied on, datum by datum), model
    (would it generate such data), training (did the fit end too early, or learn by heart),
    estimator (which one to climb by).

    Raises:
        InputError: for a run or data that cannot be read, a question that is none, or a diagnosis
            that is there already.
    """
    from ppvae import report
    from ppvae.cli.terminal import bar, say
    from ppvae.diagnostics.diagnosis.case import Case
    from ppvae.diagnostics.diagnosis.effort import FULL, QUICK
    from ppvae.diagnostics.diagnosis.examination import demand_questions, examine
    from ppvae.diagnostics.diagnosis.folder import refuse_occupied, write_diagnosis
    from ppvae.diagnostics.diagnosis.keeping import kept
    from ppvae.training.devices import one_device

    data, split, only = asked.data, asked.split, asked.only
    demand_questions(only)
    effort = QUICK if asked.quick else FULL
    if asked.samples is not None:
        effort = replace(effort, samples=asked.samples)
    with contextlib.ExitStack() as held:
        held.enter_context(restored())  # opening a run draws, and so may libraries
        opened = opened_run(asked)
        folder = _folder(opened, data, split, only, asked.out)
        held.enter_context(writing(folder))
        refuse_occupied(folder, overwrite=asked.overwrite)
        rows = rows_of(opened, data, split, asked.data_dir, asked.label)
        where = one_device(asked.device)
        case = Case(
            run=opened,
            pair=opened.pair.to(where),
            facts=opened.audit,
            data=rows,
            name=split if data is None else _name(data),
            is_own=data is None,
            train=_training_data(opened, data, split, asked.data_dir),
            effort=effort,
            seed=asked.seed,
            device=where,
            bar=bar,
        )
        result = examine(case, only, folder)
        tree = "some questions alone were asked" if only else kept(case, result.findings)
        opened.pair.to("cpu")
        settings = {
            "run": opened.path.name, "data": None if data is None else _name(data),
            "split": split, "quick": asked.quick, "samples": effort.samples, "only": list(only),
            "seed": asked.seed, "device": str(where), "checkpoint": asked.checkpoint,
        }  # fmt: skip
        write_diagnosis(result, settings, tree)
        try:
            note = report.attempt(opened, case.data, data_name=case.name, diagnosis=folder)
        except WriteError as error:
            raise error.but("the diagnosis itself is whole, in diagnostics.json") from error
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
    """The run itself for all questions of its test data; a folder in it for anything else."""
    if out is not None:
        return Path(out)
    about = [] if data is None and split == "test" else [split if data is None else _name(data)]
    parts = [*about, *only]
    return run.path / "-".join(["diagnostics", *parts]) if parts else run.path


def _training_data(
    run: Run, data: str | Path | Rows | None, split: str, data_dir: str | Path | None
) -> Split | None:
    """What the run was fitted to, unless that is what is examined, or it is no longer there."""
    if data is None and split == "train":
        return None
    try:
        return rows_of(run, None, "train", data_dir, None)
    except InputError:
        if data is None:
            raise
        return None  # new data can be examined without the old


def main(argv: Sequence[str]) -> None:
    """The command: examine, and show."""
    from ppvae.diagnostics.diagnosis.table import show_diagnosis

    show_diagnosis(diagnose(**given_settings("diagnose", argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
