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
    Checked,
    Setting,
    again,
    setting,
)
from ppvae.settings.values import (
    PLACE,
    QUESTIONS,
    SEED,
    SWITCH,
    TEXT,
    Device,
    Figures,
    Opened,
    Rows,
    Several,
    Source,
    Whole,
    Word,
)

_RUN = {"setting": Setting(DATA, Source(), "The run directory.")}


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
    data_memory: float | None = again(Settings, "data_memory")
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
    data_memory: float | None = _as_encode("data_memory")
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
    figures: Figures = again(Settings, "figures")
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
    data_memory: float | None = _as_encode("data_memory")
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
    figures: Figures = again(Settings, "figures", default="png")
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
