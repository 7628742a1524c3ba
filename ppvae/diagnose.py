"""How good is this bound, and why: model, guide, encoder, optimizer or noise?

python -m ppvae.diagnose runs/digits-20260101-120000 --quick       # about a minute
python -m ppvae.diagnose RUN                                       # the figures to quote
python -m ppvae.diagnose RUN --data new.npy                        # on other data
python -m ppvae.diagnose RUN --only evidence --samples 50000       # one question
"""

if __name__ == "__main__":  # before the imports that take seconds
    from ppvae.cli.interruption import leave_on_interrupt

    leave_on_interrupt()

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ppvae.cli.parsing import answer, given_arguments
from ppvae.data import Split
from ppvae.diagnostics.diagnosis.result import Diagnosis
from ppvae.encode import rows_of
from ppvae.errors import InputError
from ppvae.programs.isolation import alone
from ppvae.programs.streams import check_seed, restored
from ppvae.run import Run, load
from ppvae.run.store import WriteError, writing

__all__ = ["diagnose"]


@alone
def diagnose(
    run: str | Path | Run,
    data: str | Path | Split | None = None,
    split: Literal["train", "valid", "test"] = "test",
    data_dir: str | Path | None = None,
    label: str | None = None,
    quick: bool = False,
    samples: int | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    checkpoint: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> Diagnosis:
    """Ask a fitted run where its nats are lost, and what to change.

    Writes diagnostics.json, figures, posterior.nc (an ArviZ DataTree) and report.html, and returns
    a `Diagnosis`. Nothing that was fitted moves; every figure is a function of the seed.
    Questions: bound (what is in it, is the latent used), evidence (what is log p(x)),
    gap (what guide and encoder lose), trust (is the guide to be relied on, datum by datum), model
    (would it generate such data), training (did the fit end too early, or learn by heart),
    estimator (which one to climb by).

    Args:
        run: the run directory.
        data: other data to examine, by name or path; default: the run's own.
        split: which part of the run's own data.
        data_dir: where published data lie; default: as in the fit.
        label: the column of a new .csv that holds the labels.
        quick: fewer data and draws: about a minute, with wider errors.
        samples: importance samples for log p(x); default 5,000, or 500 if quick.
        only: a question to ask; can be repeated; default: all.
        seed: of the choice of data, and of all draws.
        device: where to compute.
        checkpoint: best, last or step-N; default: the best there is.
        out: the folder to write to; default: the run itself, or RUN/diagnostics-<data>-<question>
            for data other than its test part and for single questions.
        overwrite: replace a diagnosis that is there already.
        trust: a module that the run's own parts may be imported from; can be repeated.

    Raises:
        InputError: for a run or data that cannot be read, a question that is none, or a diagnosis
            that is there already.
    """
    from ppvae import report
    from ppvae.cli.terminal import bar
    from ppvae.diagnostics.diagnosis.case import Case
    from ppvae.diagnostics.diagnosis.effort import FULL, QUICK
    from ppvae.diagnostics.diagnosis.examination import demand_questions, examine
    from ppvae.diagnostics.diagnosis.folder import refuse_occupied, write_diagnosis
    from ppvae.diagnostics.diagnosis.keeping import kept
    from ppvae.training.devices import one_device

    demand_questions(only)
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}; it must be at least 1")
    check_seed(seed)
    effort = QUICK if quick else FULL
    if samples is not None:
        effort = replace(effort, samples=samples)
    with contextlib.ExitStack() as held:
        held.enter_context(restored())  # opening a run draws, and so may libraries
        opened = run if isinstance(run, Run) else load(run, trust=trust, checkpoint=checkpoint)
        folder = _folder(opened, data, split, only, out)
        held.enter_context(writing(folder))
        refuse_occupied(folder, overwrite=overwrite)
        rows = rows_of(opened, data, split, data_dir, label)
        where = one_device(device)
        case = Case(
            run=opened,
            pair=opened.pair.to(where),
            facts=opened.audit,
            data=rows,
            name=split if data is None else _name(data),
            is_own=data is None,
            train=_training_data(opened, data, split, data_dir),
            effort=effort,
            seed=seed,
            device=where,
            bar=bar,
        )
        result = examine(case, only, folder)
        tree = "some questions alone were asked" if only else kept(case, result.findings)
        opened.pair.to("cpu")
        settings = {
            "run": opened.path.name, "data": None if data is None else _name(data),
            "split": split, "quick": quick, "samples": effort.samples, "only": list(only),
            "seed": seed, "device": str(where), "checkpoint": checkpoint,
        }  # fmt: skip
        write_diagnosis(result, settings, tree)
        try:
            report.attempt(opened, case.data, data_name=case.name, diagnosis=folder)
        except WriteError as error:
            raise error.but("the diagnosis itself is whole, in diagnostics.json") from error
    return result


def _name(data: str | Path | Split) -> str:
    return "data" if isinstance(data, Split) else Path(data).stem


def _folder(
    run: Run,
    data: str | Path | Split | None,
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
    run: Run, data: str | Path | Split | None, split: str, data_dir: str | Path | None
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

    show_diagnosis(diagnose(**given_arguments(diagnose, argv)))


if __name__ == "__main__":
    answer(main, sys.argv[1:])
