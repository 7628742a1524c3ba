"""Settings of the commands on an existing run."""

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
    """Settings of `ppvae.encode.encode`."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    data: str | Path | Rows | None = setting(
        None, DATA, Source(), "Other data to encode, by name or path.", "the run's own data"
    )
    split: Literal["train", "valid", "test", "all"] = setting(
        "test", DATA, Word(Literal["train", "valid", "test", "all"]),
        "The split of the run's own data: train, valid, test, or all, in the order of the file."
    )
    data_dir: str | Path | None = setting(
        None, DATA, PLACE, "The folder of published data.", "as in the fit"
    )
    data_memory: float | None = again(Settings, "data_memory")
    label: str | None = setting(
        None, DATA, TEXT, "The column of a new table that holds the labels.", "that of the fit"
    )
    samples: int = setting(
        100, DRAWS, Whole(0), "Importance samples for log p(x); 0: loc and scale only."
    )
    seed: int = setting(0, DRAWS, SEED, "The seed of the samples.")
    device: Device = again(Settings, "device")
    checkpoint: str | None = setting(
        None, DATA, TEXT, "The weights: best, last or step-N.", "best, if it exists"
    )
    out: str | Path | None = setting(
        None, OUTPUT, PLACE,
        "The file to write: .csv, .parquet, .npz, or .h5ad with the encoded AnnData.",
        "RUN/embedding-<split or data>.npz"
    )
    overwrite: bool = setting(
        False, OUTPUT, SWITCH, "Replace an existing file.", is_for_people=True
    )
    trust: Sequence[str] = setting(
        (), MACHINE, Several(),
        "A module from which parts of the run may be imported; can be repeated.",
        is_for_people=True
    )
    # fmt: on


_as_encode = partial(again, Encode)
"""Repeats a setting of `Encode`."""


@dataclass(frozen=True)
class Diagnose(Checked):
    """Settings of `ppvae.diagnose.diagnose`."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to examine, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The split of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    data_memory: float | None = _as_encode("data_memory")
    label: str | None = _as_encode("label")
    quick: bool = setting(
        False, DRAWS, SWITCH,
        "Fewer data and draws, with wider errors: about a minute for the digits."
    )
    samples: int | None = setting(
        None, DRAWS, Whole(1), "Importance samples for log p(x), per datum.",
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
    overwrite: bool = _as_encode("overwrite", sentence="Replace an existing diagnosis.")
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


@dataclass(frozen=True)
class Sample(Checked):
    """Settings of `ppvae.sample.sample`."""

    # fmt: off
    run: str | Path | Opened = field(metadata=_RUN)
    count: int = setting(64, DRAWS, Whole(1), "The number of draws.")
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to reconstruct, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The split of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    data_memory: float | None = _as_encode("data_memory")
    label: str | None = _as_encode("label")
    pairs: int = setting(6, DRAWS, Whole(1), "Number of interpolations between two data.")
    steps: int = setting(9, DRAWS, Whole(2), "Points of an interpolation, with both ends.")
    given: str | None = setting(
        None, DRAWS, TEXT,
        "The condition of all draws: a label, or covariates as comma-separated numbers.",
        "the labels or covariates of the rows"
    )
    aggregate: bool = setting(
        False, DRAWS, SWITCH,
        "Draw z from a mixture of normals fitted to the codes of the training data."
    )
    components: int = setting(10, DRAWS, Whole(1), "The number of normals in that mixture.")
    impute: bool = setting(
        False, DRAWS, SWITCH, "Fill in the missing entries of the data instead."
    )
    samples: int = setting(1000, DRAWS, Whole(1), "Importance samples per datum to impute.")
    seed: int = _as_encode("seed", sentence="The seed of the draws.")
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="RUN/samples"
    )
    figures: Figures = again(Settings, "figures", default="png")
    overwrite: bool = _as_encode("overwrite", sentence="Replace existing files.")
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


@dataclass(frozen=True)
class Export(Checked):
    """Settings of `ppvae.export.export`."""

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
