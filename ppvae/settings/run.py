"""The settings of what is asked of a run that is there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from ppvae.settings.fit import Settings
from ppvae.settings.setting import (
    DATA,
    DRAWS,
    MACHINE,
    OUTPUT,
    PROGRAMS,
    TRAINING,
    Checked,
    Setting,
    again,
    check_seed,
    setting,
)
from ppvae.settings.values import (
    PLACE,
    QUESTIONS,
    SEED,
    SWITCH,
    TEXT,
    Binarize,
    Dataset,
    Device,
    Opened,
    Part,
    Rows,
    Several,
    Source,
    Sources,
    Whole,
    Word,
)

_RUN = {"setting": Setting(DATA, Source(), "The run directory.")}

_RUNS = {
    "setting": Setting(DATA, Sources(), "Run directories, to be put side by side on the same rows.")
}


@dataclass(frozen=True)
class Encode(Checked):
    """What `ppvae.encode.encode` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    data: str | Path | Rows | None = setting(
        None, DATA, Source(), "Other data to encode, by name or path.", "the run's own data"
    )
    split: Literal["train", "valid", "test", "all"] = setting(
        "test", DATA, Word(Literal["train", "valid", "test", "all"]),
        "The part of the run's own data: train, valid, test, or all, in the order of the file."
    )
    data_dir: str | Path | None = setting(
        None, DATA, PLACE, "The folder where published data lie.", "as in the fit"
    )
    label: str | None = setting(
        None, DATA, TEXT, "The column of a new table that holds the labels.", "that of the fit"
    )
    samples: int = setting(
        100, DRAWS, Whole(0), "Importance samples for log p(x); 0: loc and scale alone."
    )
    seed: int = setting(0, DRAWS, SEED, "The seed of the samples.")
    device: Device = again(Settings, "device")
    checkpoint: str | None = setting(
        None, DATA, TEXT, "The weights: best, last or step-N.", "the best there are"
    )
    out: str | Path | None = setting(
        None, OUTPUT, PLACE,
        "The file to write: .csv, .parquet, .npz, or .h5ad with the AnnData that was encoded.",
        "RUN/embedding-<split or data>.npz"
    )
    overwrite: bool = setting(
        False, OUTPUT, SWITCH, "Replace a file that is already there.", is_for_people=True
    )
    trust: Sequence[str] = setting(
        (), MACHINE, Several(),
        "A module that the run's own parts may be imported from; can be repeated.",
        is_for_people=True
    )
    # fmt: on


_as_encode = partial(again, Encode)
"""A setting of `Encode` again."""

_unset = partial(again, Settings, default=None)
"""A setting of a fit again, unset by default."""

_BEGUN = Settings()
"""The defaults of a fit."""


@dataclass(frozen=True)
class CompareBounds(Checked):
    """What `ppvae.compare.compare_bounds` takes."""

    # fmt: off
    run: str | Path | Opened | None = setting(
        None, DATA, Source(), "A run directory, whose program, data and settings are taken.",
        "a new program"
    )
    data: str | Path | Dataset | None = setting(
        None, DATA, Source(), "The data, as in ppvae.fit.", "digits"
    )
    data_dir: str | Path | None = _as_encode("data_dir", unset="as in ppvae.fit")
    label: str | None = _as_encode("label")
    binarize: Binarize | None = _unset("binarize")
    model: Part = _unset("model")
    prior: Part = _unset("prior")
    likelihood: Part = _unset("likelihood")
    decoder: Part = _unset("decoder")
    guide: Part = _unset("guide")
    encoder: Part = _unset("encoder")
    latent_dim: int | None = _unset("latent_dim", unset=f"the run's, or {_BEGUN.latent_dim}")
    particles: int | None = _unset("particles", unset=f"the run's, or {_BEGUN.particles}")
    beta: float | None = _unset("beta", unset=f"the run's, or {_BEGUN.beta:g}")
    epochs: int = setting(10, TRAINING, Whole(1), "Passes over the training data in each climb.")
    batch_size: int | None = _unset("batch_size", unset=f"the run's, or {_BEGUN.batch_size}")
    lr: float | None = _unset("lr", unset=f"the run's, or {_BEGUN.lr:g}")
    seeds: int = setting(3, DRAWS, Whole(1), "Climbs of each bound.")
    seed: int = _as_encode("seed", sentence="The seed of the first of them.")
    draws: int = setting(100, DRAWS, Whole(4), "Draws of value and gradient at the same weights.")
    device: Device = _as_encode("device")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="runs/compare-<data>-<time>"
    )
    overwrite: bool = _as_encode(
        "overwrite", sentence="Replace a comparison that is already there."
    )
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed + self.seeds - 1, "the last of the seeds")


@dataclass(frozen=True)
class CompareRuns(Checked):
    """What `ppvae.compare.compare_runs` takes."""

    # fmt: off
    runs: Sequence[str | Path | Opened] = field(metadata=_RUNS)
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to compare runs on, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The part of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    label: str | None = _as_encode("label")
    rows: int | None = setting(
        None, DATA, Whole(2), "How many rows runs are compared on, chosen by the seed.",
        "all of them"
    )
    samples: int = _as_encode(
        "samples", values=Whole(1), default=1000,
        sentence="Importance samples for log p(x) of each datum under each run."
    )
    seed: int = _as_encode("seed", sentence="The seed of the rows and samples.")
    device: Device = _as_encode("device")
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="runs/compare-<data>-<time>"
    )
    overwrite: bool = _as_encode(
        "overwrite", sentence="Replace a comparison that is already there."
    )
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


_of_runs = partial(again, CompareRuns)
"""A setting of a comparison of runs again."""


@dataclass(frozen=True)
class Compare(CompareBounds):
    """What the command takes: the settings of a comparison of runs, or else of two bounds."""

    # fmt: off
    runs: Sequence[str | Path | Opened] = _of_runs(
        "runs", default=(),
        sentence="Run directories, to be put side by side on the same rows; without them two "
        "bounds are compared on one program."
    )
    data: str | Path | Dataset | None = setting(
        None, DATA, Source(), "The data, as in ppvae.fit; beside runs, other data to compare on.",
        "digits, or the runs' own"
    )
    seed: int = _of_runs("seed", sentence="The seed of the first fit, or of rows and samples.")
    split: Literal["train", "valid", "test"] = _of_runs(
        "split", sentence="The part of the runs' own data: train, valid or test."
    )
    rows: int | None = _of_runs("rows")
    samples: int = _of_runs("samples")
    checkpoint: str | None = _of_runs("checkpoint")
    # fmt: on


@dataclass(frozen=True)
class Diagnose(Checked):
    """What `ppvae.diagnose.diagnose` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to examine, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The part of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    label: str | None = _as_encode("label")
    quick: bool = setting(
        False, DRAWS, SWITCH, "Fewer data and draws: about a minute, with wider errors."
    )
    samples: int | None = setting(
        None, DRAWS, Whole(1), "Importance samples for log p(x) of each datum.",
        "1,000, and 5,000 for some of the data; 500 and 1,000 if quick"
    )
    only: Sequence[str] = setting(
        (), DRAWS, Several(QUESTIONS),
        f"A question to ask; can be repeated: {', '.join(QUESTIONS)}."
    )
    seed: int = _as_encode("seed", sentence="The seed of the choice of data, and of all draws.")
    device: Device = _as_encode("device")
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.",
        unset="the run, or RUN/diagnostics-<data>-<question> for other data and single questions"
    )
    overwrite: bool = _as_encode("overwrite", sentence="Replace a diagnosis that is already there.")
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


@dataclass(frozen=True)
class Sample(Checked):
    """What `ppvae.sample.sample` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    count: int = setting(64, DRAWS, Whole(1), "The number of draws.")
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to reconstruct, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The part of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    label: str | None = _as_encode("label")
    pairs: int = setting(6, DRAWS, Whole(1), "Walks between two data.")
    steps: int = setting(9, DRAWS, Whole(2), "Points on a walk, its ends included.")
    given: str | None = setting(
        None, DRAWS, TEXT,
        "What every draw is conditional on: a label, or covariates as numbers set off by commas.",
        "the labels or covariates of the rows themselves"
    )
    aggregate: bool = setting(
        False, DRAWS, SWITCH,
        "Draw z from a mixture of normals fitted to the codes of the training data."
    )
    components: int = setting(10, DRAWS, Whole(1), "The number of normals in that mixture.")
    impute: bool = setting(
        False, DRAWS, SWITCH, "Fill in the missing entries of the data instead."
    )
    samples: int = setting(1000, DRAWS, Whole(1), "Importance samples for each datum to impute.")
    seed: int = _as_encode("seed", sentence="The seed of the draws.")
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="RUN/samples"
    )
    overwrite: bool = _as_encode("overwrite", sentence="Replace files that are already there.")
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


@dataclass(frozen=True)
class Export(Checked):
    """What `ppvae.export.export` takes."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    what: Literal["encoder", "decoder"] = setting(
        "encoder", PROGRAMS, Word(Literal["encoder", "decoder"]),
        "The part: encoder (x to loc and scale of q(z | x)) or decoder (z to the mean of p(x | z))."
    )
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The file to write, .pt2.", unset="RUN/encoder.pt2 or RUN/decoder.pt2"
    )
    overwrite: bool = _as_encode("overwrite")
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on
