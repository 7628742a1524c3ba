"""Settings of comparisons: of two bounds on one program, and of runs on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from ppvae.settings.fit import Settings
from ppvae.settings.run import Encode
from ppvae.settings.setting import (
    DATA,
    DRAWS,
    TRAINING,
    Checked,
    Setting,
    again,
    check_seed,
    setting,
)
from ppvae.settings.values import (
    Binarize,
    Dataset,
    Device,
    Figures,
    Opened,
    Part,
    Rows,
    Source,
    Sources,
    Whole,
    Word,
)

_as_encode = partial(again, Encode)
"""Repeats a setting of `Encode`."""

_unset = partial(again, Settings, default=None)
"""Repeats a setting of a fit, unset by default."""

_BEGUN = Settings()
"""Defaults of a fit."""


@dataclass(frozen=True)
class CompareBounds(Checked):
    """Settings of `ppvae.compare.compare_bounds`."""

    # fmt: off
    run: str | Path | Opened | None = setting(
        None, DATA, Source(), "A run directory, whose program, data and settings are used.",
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
    epochs: int = setting(10, TRAINING, Whole(1), "Passes over the training data in each fit.")
    batch_size: int | None = _unset(
        "batch_size", sentence="Rows per batch.", unset=f"the run's, or {_BEGUN.batch_size}"
    )
    lr: float | None = _unset("lr", unset=f"the run's, or {_BEGUN.lr:g}")
    seeds: int = setting(3, DRAWS, Whole(1), "Fits by each bound.")
    seed: int = _as_encode("seed", sentence="The seed of the first of them.")
    draws: int = setting(
        100, DRAWS, Whole(4), "Estimates of value and gradient at the same weights."
    )
    device: Device = _as_encode("device")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="runs/compare-<data>-<time>"
    )
    figures: Figures = again(Settings, "figures")
    overwrite: bool = _as_encode(
        "overwrite", sentence="Replace an existing comparison."
    )
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed + self.seeds - 1, "the last of the seeds")


@dataclass(frozen=True)
class CompareRuns(Checked):
    """Settings of `ppvae.compare.compare_runs`."""

    # fmt: off
    runs: Sequence[str | Path | Opened] = field(
        metadata={
            "setting": Setting(
                DATA, Sources(), "Run directories to compare on the same rows."
            )
        }
    )
    data: str | Path | Rows | None = _as_encode(
        "data", sentence="Other data to compare runs on, by name or path."
    )
    split: Literal["train", "valid", "test"] = _as_encode(
        "split", values=Word(Literal["train", "valid", "test"]),
        sentence="The split of the run's own data: train, valid or test."
    )
    data_dir: str | Path | None = _as_encode("data_dir")
    label: str | None = _as_encode("label")
    rows: int | None = setting(
        None, DATA, Whole(2), "Number of rows to compare runs on, chosen by the seed.",
        "all of them"
    )
    samples: int = _as_encode(
        "samples", values=Whole(1), default=1000,
        sentence="Importance samples for log p(x), per datum and run."
    )
    seed: int = _as_encode("seed", sentence="The seed of the rows and samples.")
    device: Device = _as_encode("device")
    checkpoint: str | None = _as_encode("checkpoint")
    out: str | Path | None = _as_encode(
        "out", sentence="The folder to write to.", unset="runs/compare-<data>-<time>"
    )
    figures: Figures = again(Settings, "figures")
    overwrite: bool = _as_encode(
        "overwrite", sentence="Replace an existing comparison."
    )
    trust: Sequence[str] = _as_encode("trust")
    # fmt: on


_of_runs = partial(again, CompareRuns)
"""Repeats a setting of a comparison of runs."""


@dataclass(frozen=True)
class Compare(CompareBounds):
    """Settings of the command: of a comparison of runs, or else of two bounds."""

    # fmt: off
    runs: Sequence[str | Path | Opened] = _of_runs(
        "runs", default=(),
        sentence=(
            "Run directories to compare on the same rows; without them two bounds are compared on "
            "one program."
        )
    )
    data: str | Path | Dataset | None = setting(
        None, DATA, Source(), "The data, as in ppvae.fit; with runs, other data to compare on.",
        "digits, or the runs' own"
    )
    seed: int = _of_runs("seed", sentence="The seed of the first fit, or of rows and samples.")
    split: Literal["train", "valid", "test"] = _of_runs("split")
    rows: int | None = _of_runs("rows")
    samples: int = _of_runs("samples")
    checkpoint: str | None = _of_runs("checkpoint")
    # fmt: on
