"""The settings of what is asked of a run that is there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ppvae.settings.fit import again
from ppvae.settings.setting import (
    DATA,
    DRAWS,
    MACHINE,
    OUTPUT,
    TRAINING,
    Checked,
    Setting,
    check_seed,
    setting,
)
from ppvae.settings.values import (
    SEED,
    Binarize,
    Dataset,
    Device,
    Opened,
    Part,
    Place,
    Rows,
    Several,
    Source,
    Switch,
    Text,
    Whole,
    Word,
)


def _run() -> Any:
    return {"setting": Setting(DATA, Source(), "The run directory.")}


def _rows_asked(what: str) -> Any:
    return setting(
        None, DATA, Source(), f"Other data to {what}, by name or path.", "the run's own data"
    )


def _split() -> Any:
    return setting(
        "test",
        DATA,
        Word(Literal["train", "valid", "test"]),
        "The part of the run's own data: train, valid or test.",
    )


def _where_data_lie(unset: str = "as in the fit") -> Any:
    return setting(None, DATA, Place(), "The folder where published data lie.", unset)


def _label() -> Any:
    return setting(
        None, DATA, Text(), "The column of a new .csv that holds the labels.", "no labels"
    )


def _seed(of: str) -> Any:
    return setting(0, DRAWS, SEED, f"The seed of {of}.")


def _device() -> Any:
    return setting("auto", MACHINE, Word(Device), "The device: auto, cpu, cuda or mps.")


def _checkpoint() -> Any:
    return setting(None, DATA, Text(), "The weights: best, last or step-N.", "the best there are")


def _out(what: str, unset: str) -> Any:
    return setting(None, OUTPUT, Place(), what, unset)


def _overwrite(what: str) -> Any:
    return setting(False, OUTPUT, Switch(), f"Replace {what} already there.", for_people=True)


def _trust() -> Any:
    return setting(
        (),
        MACHINE,
        Several(),
        "A module that the run's own parts may be imported from; can be repeated.",
        for_people=True,
    )


@dataclass(frozen=True)
class Compare(Checked):
    """What `ppvae.compare.compare` takes."""

    # fmt: off
    run: str | Path | Opened | None = setting(
        None, DATA, Source(), "A run directory, whose program, data and settings are taken.",
        "a new program"
    )
    data: str | Path | Dataset | None = setting(
        None, DATA, Source(), "The data, as in ppvae.fit.", "digits"
    )
    data_dir: str | Path | None = _where_data_lie("as in ppvae.fit")
    label: str | None = _label()
    binarize: Binarize | None = again("binarize")
    model: Part = again("model")
    prior: Part = again("prior")
    likelihood: Part = again("likelihood")
    decoder: Part = again("decoder")
    guide: Part = again("guide")
    encoder: Part = again("encoder")
    latent_dim: int | None = again("latent_dim", "20")
    particles: int | None = again("particles", "the run's, or 1")
    beta: float | None = again("beta", "the run's, or 1")
    epochs: int = setting(10, TRAINING, Whole(1), "Passes over the training data in each climb.")
    batch_size: int | None = again("batch_size", "the run's, or 64")
    lr: float | None = again("lr", "the run's, or 0.002")
    seeds: int = setting(3, DRAWS, Whole(1), "Climbs of each bound.")
    seed: int = _seed("the first of them")
    draws: int = setting(100, DRAWS, Whole(4), "Draws of value and gradient at the same weights.")
    device: Device = _device()
    out: str | Path | None = _out("The folder to write to.", "runs/compare-<data>-<time>")
    overwrite: bool = _overwrite("a comparison that is")
    trust: Sequence[str] = _trust()
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed + self.seeds - 1, "the last of the seeds")


@dataclass(frozen=True)
class Diagnose(Checked):
    """What `ppvae.diagnose.diagnose` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_run())
    data: str | Path | Rows | None = _rows_asked("examine")
    split: Literal["train", "valid", "test"] = _split()
    data_dir: str | Path | None = _where_data_lie()
    label: str | None = _label()
    quick: bool = setting(
        False, DRAWS, Switch(), "Fewer data and draws: about a minute, with wider errors."
    )
    samples: int | None = setting(
        None, DRAWS, Whole(1), "Importance samples for log p(x).", "5,000, or 500 if quick"
    )
    only: Sequence[str] = setting(
        (), DRAWS, Several(),
        "A question to ask: bound, evidence, gap, trust, model, training or estimator; can be "
        "repeated."
    )
    seed: int = _seed("the choice of data, and of all draws")
    device: Device = _device()
    checkpoint: str | None = _checkpoint()
    out: str | Path | None = _out(
        "The folder to write to.",
        "the run, or RUN/diagnostics-<data>-<question> for other data and single questions"
    )
    overwrite: bool = _overwrite("a diagnosis that is")
    trust: Sequence[str] = _trust()
    # fmt: on


@dataclass(frozen=True)
class Encode(Checked):
    """What `ppvae.encode.encode` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_run())
    data: str | Path | Rows | None = _rows_asked("encode")
    split: Literal["train", "valid", "test"] = _split()
    data_dir: str | Path | None = _where_data_lie()
    label: str | None = _label()
    samples: int = setting(100, DRAWS, Whole(1), "Importance samples for log p(x).")
    seed: int = _seed("the samples")
    device: Device = _device()
    checkpoint: str | None = _checkpoint()
    out: str | Path | None = _out(
        "The file to write, .npz or .csv.", "RUN/embedding-<split or data>.npz"
    )
    overwrite: bool = _overwrite("a file that is")
    trust: Sequence[str] = _trust()
    # fmt: on


@dataclass(frozen=True)
class Sample(Checked):
    """What `ppvae.sample.sample` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_run())
    count: int = setting(64, DRAWS, Whole(1), "The number of draws.")
    data: str | Path | Rows | None = _rows_asked("reconstruct")
    split: Literal["train", "valid", "test"] = _split()
    data_dir: str | Path | None = _where_data_lie()
    label: str | None = _label()
    pairs: int = setting(6, DRAWS, Whole(1), "Walks between two data.")
    steps: int = setting(9, DRAWS, Whole(2), "Points on a walk, its ends included.")
    given: str | None = setting(
        None, DRAWS, Text(),
        "What every draw is conditional on: a label, or covariates as numbers set off by commas.",
        "the labels or covariates of the rows themselves"
    )
    aggregate: bool = setting(
        False, DRAWS, Switch(),
        "Draw z from a mixture of normals fitted to the codes of the training data."
    )
    components: int = setting(10, DRAWS, Whole(1), "The number of normals in that mixture.")
    impute: bool = setting(
        False, DRAWS, Switch(), "Fill in the missing entries of the data instead."
    )
    samples: int = setting(1000, DRAWS, Whole(1), "Importance samples for each datum to impute.")
    seed: int = _seed("the draws")
    checkpoint: str | None = _checkpoint()
    out: str | Path | None = _out("The folder to write to.", "RUN/samples")
    overwrite: bool = _overwrite("files that are")
    trust: Sequence[str] = _trust()
    # fmt: on
