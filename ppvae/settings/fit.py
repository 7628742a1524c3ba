"""The settings of a fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ppvae.errors import InputError
from ppvae.settings.recipes import recipe
from ppvae.settings.setting import (
    BOUND,
    DATA,
    MACHINE,
    OUTPUT,
    PROGRAMS,
    TRAINING,
    Checked,
    setting,
    settings_of,
)
from ppvae.settings.values import (
    PLACE,
    SEED,
    SWITCH,
    TEXT,
    Binarize,
    Class,
    Compile,
    Device,
    Figures,
    Instance,
    Kind,
    MetricsLogger,
    Names,
    Number,
    Opened,
    Part,
    Precision,
    Scale,
    Several,
    Size,
    Source,
    Switch,
    Tracker,
    Tracking,
    Whole,
    Word,
    Words,
)

EPOCHS = 100
"""Epochs of a fit where nobody says."""

LEAST_STEPS = 400
"""Steps that they make at least, if `MOST_EPOCHS` does it. More of them overfit a table."""

LEAST_STEPS_ANEW = 4_400
"""The same where rows are binarized anew: the noise keeps them from being overfitted."""

MOST_EPOCHS = 400
"""Epochs of the fewest rows."""


READING = (
    "label", "covariates", "index", "drop", "kinds", "size_factor", "split_column", "valid", "test",
    "size", "data_memory",
)  # fmt: skip
"""Settings that say how data is read."""


@dataclass(frozen=True)
class Settings(Checked):
    """The settings of a fit: what `ppvae.fit.fit` takes, and a run's ``config.yaml`` keeps."""

    # fmt: off
    data: Any = setting(
        "digits", DATA, Source(),
        "The data: a known name (digits, mnist, fashion-mnist, kmnist, omniglot, binarized-mnist, "
        "or an image set of torchvision), or a path (.csv, .tsv, .parquet, .npy, .npz, .h5ad, a "
        "folder of images)."
    )
    data_dir: str | Path | None = setting(
        None, DATA, PLACE, "The folder where published data lie, or are downloaded to.",
        "$PPVAE_DATA, or ~/.cache/ppvae", may_change=True
    )
    label: str | None = setting(
        None, DATA,
        Instance(str, "the name of a column; labels beside an array are `data=(x, y)`", "NAME"),
        "The column of a table that holds the labels.", "no labels"
    )
    covariates: Sequence[str] | None = setting(
        None, DATA, Names(),
        "Columns of a table that the programs are conditional on, as a,b.", "none"
    )
    index: str | None = setting(
        None, DATA, TEXT, "The column of a table that names its rows.", "rows have numbers"
    )
    drop: Sequence[str] | None = setting(
        None, DATA, Names(), "Columns of a table that are left out, as a,b.", "none"
    )
    kinds: Mapping[str, Kind] | None = setting(
        None, DATA, Words(Kind),
        "What the values of columns are, as year=category,age=real: real, count or category.",
        "by their values"
    )
    size_factor: str | None = setting(
        None, DATA, TEXT,
        "What the mean of counts is multiplied by: total (the sum of the row), a column, or none.",
        "total where counts of an .h5ad meet a likelihood of counts, else none"
    )
    split_column: str | None = setting(
        None, DATA, TEXT, "The column of a table that says train, valid or test.", "by the seed"
    )
    valid: str | Path | None = setting(
        None, DATA, PLACE,
        "A file of the rows that choose the best weights; none: train on all but the test rows, "
        "and keep the last weights.", "a part of the data"
    )
    test: str | Path | None = setting(
        None, DATA, PLACE, "A file of the rows that figures are reported of.", "a part of the data"
    )
    size: tuple[int, int] | None = setting(
        None, DATA, Size(), "Height and width that the images of a folder are brought to.",
        "their own, if they have one"
    )
    data_memory: float | None = setting(
        None, DATA, Number(zero=True),
        "GiB of memory that the rows of a file may take; larger data stay on disk, and batches are "
        "read from there.", "a quarter of what is free", is_recorded=False, may_change=True
    )
    labels: int | None = setting(
        None, DATA, Whole(1),
        "How many labels of the training data are kept, evenly over classes; the others, and all "
        "of the held-out data, are hidden.", "all of them"
    )
    binarize: Binarize | None = setting(
        None, DATA, Word(Binarize),
        "Binarize intensities: dynamic (drawn anew for training), static (drawn once), threshold "
        "(at 0.5), or none.",
        "dynamic for the digits under a likelihood of zeros and ones, else none"
    )
    scale: Scale | None = setting(
        None, DATA, Word(Scale),
        "Scale values: none (as they are), unit (divided by the largest there may be), or "
        "standardize (mean 0 and deviation 1 in training).", "by type, range and likelihood"
    )
    recipe: str | None = setting(
        None, DATA, TEXT,
        "A published protocol by name, whose settings hold where no other is given; list shows all "
        "of them, with their figures.", "none"
    )
    model: Part = setting(
        None, PROGRAMS, Class(), "The generative program p(x, z).",
        "VAE; ConditionalVAE with covariates"
    )
    prior: Part = setting(None, PROGRAMS, Class(), "The prior p(z).", "StandardNormal")
    likelihood: Part = setting(
        None, PROGRAMS, Class(), "The likelihood p(x | z).",
        "Bernoulli; of a table Gaussian, NegativeBinomial or PerColumn, by its columns"
    )
    decoder: Part = setting(
        None, PROGRAMS, Class(), "The network from z to the parameters of the likelihood.",
        "an MLP of three hidden layers of 200"
    )
    guide: Part = setting(None, PROGRAMS, Class(), "The variational program q(z | x).", "MeanField")
    encoder: Part = setting(
        None, PROGRAMS, Class(), "The network from x to the parameters of the guide.",
        "an MLP of two hidden layers of 200"
    )
    encode_covariates: Switch = setting(
        "on", PROGRAMS, Word(Switch),
        "Let the encoder read y, labels or covariates, beside x: on, or off, which leaves them to "
        "the decoder."
    )
    latent_dim: int = setting(20, PROGRAMS, Whole(1), "The number of latent dimensions.")
    elbo: Part = setting("TraceMeanField_ELBO", BOUND, Class(), "The bound that is climbed.")
    particles: int = setting(1, BOUND, Whole(1), "Draws of the latents per datum and step.")
    beta: float = setting(
        1.0, BOUND, Number(zero=True),
        "The weight of the KL in what is climbed; the bound is always reported at 1."
    )
    warm_up: int = setting(
        0, BOUND, Whole(), "Epochs over which the weight of the KL rises linearly from 0."
    )
    epochs: int | None = setting(
        None, TRAINING, Whole(1), "Passes over the training data.",
        f"{EPOCHS}; of few rows as many as make {LEAST_STEPS} steps, or {LEAST_STEPS_ANEW:,} where "
        f"they are binarized anew, at most {MOST_EPOCHS}", may_change=True
    )
    patience: int | None = setting(
        None, TRAINING, Whole(1),
        "Stop after this many epochs without a better held-out objective.", "never", may_change=True
    )
    evaluate_every: int | None = setting(
        None, TRAINING, Whole(1),
        "Epochs from one evaluation on held-out data, with a checkpoint, to the next; the last "
        "epoch has one too.",
        "by sizes, for a tenth of the time of training, but ten evaluations at least"
    )
    batch_size: int = setting(
        128, TRAINING, Whole(1, 2**31 - 1),
        "Rows of a batch, all processes together; a step takes `accumulate` batches."
    )
    accumulate: int = setting(
        1, TRAINING, Whole(1, 2**31 - 1),
        "Batches of a step, taken one after another, whose gradients are summed before the weights "
        "move: a batch of so many times the rows, in the memory of one.", is_later=True
    )
    labelled: int | None = setting(
        None, TRAINING, Whole(1),
        "How many rows of each batch have a label, where few do: these pass over and over, all "
        "others once an epoch.", "as they come"
    )
    optimizer: Part = setting("Adam", TRAINING, Class(), "A class of torch.optim.")
    lr: float = setting(5e-3, TRAINING, Number(), "The learning rate.")
    schedule: Part = setting(
        "CosineAnnealingLR", TRAINING, Class(),
        "A class of torch.optim.lr_scheduler, stepped once an epoch, or none."
    )
    clip: float | None = setting(
        None, TRAINING, Number(), "The largest norm of the gradient, in nats per datum.",
        "unclipped"
    )
    seed: int = setting(
        0, TRAINING, SEED, "The seed of initial weights, order of the data, and noise."
    )
    seeds: int | None = setting(
        None, TRAINING, Whole(1),
        "Fit once for each of so many seeds, from `seed` on: a list of runs, in folders seed-N of "
        "`out`.", "one run, no list", is_recorded=False
    )
    start: str | Path | Opened | None = setting(
        None, TRAINING, Source(),
        "A run to begin from, at its best weights: for more data, or another bound. Data are "
        "scaled as its were.", "initial weights by `seed`"
    )
    device: Device = setting(
        "auto", MACHINE, Word(Device), "The device: auto, cpu, cuda or mps.", may_change=True
    )
    devices: int | None = setting(
        None, MACHINE, Whole(1), "The number of processes on each machine, a device for each.",
        "1; under torchrun or srun as many as it has started", may_change=True
    )
    nodes: int | None = setting(
        None, MACHINE, Whole(1), "The number of machines.",
        "1; under torchrun or srun as many as it has started on", may_change=True, is_later=True
    )
    threads: int | None = setting(
        None, MACHINE, Whole(1), "Threads of torch on a CPU.",
        "1 where steps are too small to share, else $OMP_NUM_THREADS or the cores",
        may_change=True
    )
    precision: Precision = setting(
        "32", MACHINE, Word(Precision),
        "32, 64, bf16-mixed (networks in bfloat16, densities in float32), or auto: bf16-mixed "
        "where the device multiplies bfloat16 by instructions of its own, 32 elsewhere."
    )
    compile: Compile = setting(
        "auto", MACHINE, Word(Compile),
        "Compile the training step: on, off, or auto (where it wins back the time it takes)."
    )
    tensorboard: bool = setting(
        False, OUTPUT, SWITCH, "Write TensorBoard events beside metrics.csv.", may_change=True
    )
    figures: Figures = setting(
        "both", OUTPUT, Word(Figures),
        "What figures are written as: png, svg (for print, and for pages that turn dark), or both.",
        is_recorded=False, may_change=True
    )
    tracker: str | Tracker | MetricsLogger | None = setting(
        None, OUTPUT, Tracking(),
        "What is told of each epoch: csv or tensorboard (loggers of Fabric's, in the run's folder "
        "trackers), or in Python anything with log(metrics, step).", "none", is_recorded=False,
        may_change=True
    )
    out: str | Path | None = setting(
        None, OUTPUT, PLACE, "The run directory.", "runs/<data>-<time>", is_recorded=False
    )
    overwrite: bool = setting(
        False, OUTPUT, SWITCH, "Replace a run that is there already.", is_recorded=False,
        is_for_people=True
    )
    in_memory: bool = setting(
        False, OUTPUT, SWITCH,
        "Leave no files: the run lasts as long as the object that is returned, and has no figures "
        "and no report.", is_recorded=False, is_for_people=True, is_for_python=True
    )
    quiet: bool = setting(
        False, OUTPUT, SWITCH, "Print nothing.", is_recorded=False, is_for_people=True,
        is_for_python=True
    )
    oversubscribe: bool = setting(
        False, MACHINE, SWITCH, "Allow more processes than there are cores.", is_recorded=False,
        is_for_people=True, may_change=True
    )
    trust: Sequence[str] = setting(
        (), PROGRAMS, Several(),
        "A module that parts named in a file may be imported from; can be repeated.",
        is_recorded=False, is_for_people=True, may_change=True
    )
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up >= self.passes:
            raise InputError(
                f"`warm_up` is {self.warm_up}, which leaves none of the {self.passes} epochs at "
                "the full `beta`; shorten it, or take more `epochs`"
            )
        if self.in_memory and self.out is not None:
            raise InputError(
                f"`out` is {str(self.out)!r}, and with `in_memory=True` a run has no files: give "
                "one of the two"
            )
        if self.in_memory and isinstance(self.tracker, str):
            raise InputError(
                f"`tracker` is {self.tracker!r}, which writes files, and with `in_memory=True` a "
                "run has none: give `out`, or a tracker of your own"
            )
        if self.seeds is not None and not isinstance(self.tracker, (str, type(None))):
            raise InputError(
                f"`tracker` is one, and `seeds={self.seeds}` makes fits whose figures it could not "
                "tell apart: fit each by its `seed`, with a tracker of its own"
            )
        for name in ("devices", "nodes"):
            value = getattr(self, name)
            if self.in_memory and value is not None and value > 1:
                raise InputError(
                    f"`{name}` is {value}, and with `in_memory=True` a run is of one process: give "
                    f"`out`, or `{name}=1`"
                )
        if self.valid == "none" and self.patience is not None:
            raise InputError(
                f"`patience` is {self.patience}, and with `valid='none'` no rows are held out to "
                "stop by; leave one of them out"
            )

    @classmethod
    def of_arguments(cls, *args: Any, **kwargs: Any) -> Self:
        """The settings that are given, above those of the recipe that they name."""
        named = dict(zip((each.name for each in fields(cls)), args, strict=False)) | kwargs
        if named.get("recipe") is not None:
            named = {**recipe(named["recipe"]).settings, **named}
        return cls(**named)

    @property
    def rows_per_step(self) -> int:
        """Rows between two moves of the weights, all processes together."""
        return self.batch_size * self.accumulate

    @property
    def passes(self) -> int:
        """Passes over the training data: ``epochs``, or the least that it comes to."""
        return EPOCHS if self.epochs is None else self.epochs

    def laid_out(self, steps_per_epoch: int, *, is_anew: bool) -> Self:
        """These settings with ``epochs`` as they resolve: few rows are passed over more often.

        A table of 100 rows has one or two steps an epoch, and 100 epochs would leave it unfitted.

        Args:
            steps_per_epoch: steps of an epoch.
            is_anew: the training rows are binarized anew in each batch.
        """
        if self.epochs is not None:
            return self
        wanted = math.ceil((LEAST_STEPS_ANEW if is_anew else LEAST_STEPS) / steps_per_epoch)
        return replace(self, epochs=min(max(EPOCHS, wanted), MOST_EPOCHS))

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """The weight of the KL at a step, counted from 0."""
        ramp = self.warm_up * steps_per_epoch
        return float(self.beta if step >= ramp else self.beta * step / ramp)

    @classmethod
    def of(cls, config: Mapping[str, Any], file: Path) -> Self:
        """The settings that a run's ``config.yaml`` keeps.

        Raises:
            InputError: if one of them is missing, or is not what `fit` writes there.
        """
        recorded = {n: about for n, (_, about) in settings_of(cls).items() if about.is_recorded}
        kept = [n for n, about in recorded.items() if n in config or not about.is_later]
        missing = sorted(set(kept) - config.keys())
        if missing:
            raise InputError(f"{file} lacks {', '.join(missing)}; mend it, or fit anew")
        try:
            return cls(**{name: config[name] for name in kept})
        except InputError as error:
            sentence = str(error).replace("`", "")
            raise InputError(f"{file}: {sentence}; mend it, or fit anew") from error

    def recorded(self) -> dict[str, Any]:
        """The settings that ``config.yaml`` keeps, as they were given."""
        kept = settings_of(type(self))
        return {name: getattr(self, name) for name, (_, about) in kept.items() if about.is_recorded}
