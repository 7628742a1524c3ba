"""Settings of a fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ppvae.errors import InputError
from ppvae.settings.epochs import EPOCHS_IN_WORDS, LEAST_EPOCHS, default_epochs
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

READING = (
    "label", "covariates", "index", "drop", "kinds", "size_factor", "split_column", "valid", "test",
    "size", "data_memory",
)  # fmt: skip
"""Settings of reading data."""


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of a fit: arguments of `ppvae.fit.fit`, recorded in ``config.yaml`` of a run."""

    # fmt: off
    data: Any = setting(
        "digits", DATA, Source(),
        "The data: a known name (digits, mnist, fashion-mnist, kmnist, omniglot, binarized-mnist, "
        "or an image set of torchvision), or a path (.csv, .tsv, .parquet, .npy, .npz, .h5ad, a "
        "folder of images)."
    )
    data_dir: str | Path | None = setting(
        None, DATA, PLACE, "The folder of published data, to which they are downloaded.",
        "$PPVAE_DATA, or ~/.cache/ppvae", may_change=True
    )
    label: str | None = setting(
        None, DATA,
        Instance(str, "the name of a column; labels beside an array are `data=(x, y)`", "NAME"),
        "The column of a table that holds the labels.", "no labels"
    )
    covariates: Sequence[str] | None = setting(
        None, DATA, Names(),
        "Columns of a table on which the programs are conditional, as a,b.", "none"
    )
    index: str | None = setting(
        None, DATA, TEXT, "The column of a table that names its rows.", "rows have numbers"
    )
    drop: Sequence[str] | None = setting(
        None, DATA, Names(), "Columns of a table to leave out, as a,b.", "none"
    )
    kinds: Mapping[str, Kind] | None = setting(
        None, DATA, Words(Kind),
        "Kinds of columns, as year=category,age=real: real, count or category.",
        "by their values"
    )
    size_factor: str | None = setting(
        None, DATA, TEXT,
        "The factor of the mean of counts: total (the sum of the row), a column, or none.",
        "total for counts of an .h5ad with a likelihood of counts, else none"
    )
    split_column: str | None = setting(
        None, DATA, TEXT, "The column of a table that says train, valid or test.", "by the seed"
    )
    valid: str | Path | None = setting(
        None, DATA, PLACE,
        "A file of the validation rows, which select the best weights; none: train on all but the "
        "test rows, and keep the last weights.",
        "a part of the data"
    )
    test: str | Path | None = setting(
        None, DATA, PLACE,
        "A file of the test rows, on which results are reported.",
        "a part of the data"
    )
    size: tuple[int, int] | None = setting(
        None, DATA, Size(), "Height and width to which the images of a folder are resized.",
        "their own, if equal"
    )
    data_memory: float | None = setting(
        None, DATA, Number(zero=True),
        "Maximum memory in GiB for the rows of a file; batches of larger data are read from disk.",
        "a quarter of the free memory", is_recorded=False, may_change=True
    )
    labels: int | None = setting(
        None, DATA, Whole(1),
        "Number of training labels to keep, evenly over classes; the others, and all of the "
        "held-out data, are hidden.",
        "all of them"
    )
    binarize: Binarize | None = setting(
        None, DATA, Word(Binarize),
        "Binarize intensities: dynamic (drawn again in each batch), static (drawn once), threshold "
        "(at 0.5), or none.",
        "dynamic for the digits with a likelihood of zeros and ones, else none"
    )
    scale: Scale | None = setting(
        None, DATA, Word(Scale),
        "Scale values: none, unit (divided by the largest possible value), or standardize (mean 0 "
        "and deviation 1 on the training rows).",
        "by type, range and likelihood"
    )
    recipe: str | None = setting(
        None, DATA, TEXT,
        "A published protocol by name, which gives the defaults of the other settings; list shows "
        "all of them, with their results.",
        "none"
    )
    model: Part = setting(
        None, PROGRAMS, Class(), "The generative program p(x, z).",
        "VAE; ConditionalVAE with covariates"
    )
    prior: Part = setting(None, PROGRAMS, Class(), "The prior p(z).", "StandardNormal")
    likelihood: Part = setting(
        None, PROGRAMS, Class(), "The likelihood p(x | z).",
        "Bernoulli; for a table Gaussian, NegativeBinomial or PerColumn, by its columns"
    )
    decoder: Part = setting(
        None, PROGRAMS, Class(), "The network from z to the parameters of the likelihood.",
        "an MLP of three hidden layers of 200; for rows of real numbers with a shortcut"
    )
    guide: Part = setting(None, PROGRAMS, Class(), "The variational program q(z | x).", "MeanField")
    encoder: Part = setting(
        None, PROGRAMS, Class(), "The network from x to the parameters of the guide.",
        "an MLP of two hidden layers of 200; for rows of real numbers with a shortcut"
    )
    encode_covariates: Switch = setting(
        "on", PROGRAMS, Word(Switch),
        "Let the encoder read y, labels or covariates, as well as x: on, or off (only the decoder "
        "reads y)."
    )
    latent_dim: int = setting(20, PROGRAMS, Whole(1), "The number of latent dimensions.")
    elbo: Part = setting("TraceMeanField_ELBO", BOUND, Class(), "The bound to maximize.")
    particles: int = setting(1, BOUND, Whole(1), "Draws of the latents per datum and step.")
    beta: float = setting(
        1.0, BOUND, Number(zero=True),
        "The weight of the KL in training; the bound is always reported at 1."
    )
    warm_up: int = setting(
        0, BOUND, Whole(), "Epochs over which the weight of the KL rises linearly from 0."
    )
    epochs: int | None = setting(
        None, TRAINING, Whole(1), "Passes over the training data.", EPOCHS_IN_WORDS,
        may_change=True
    )
    patience: int | None = setting(
        None, TRAINING, Whole(1),
        "Stop after this many epochs without a better held-out objective.", "never", may_change=True
    )
    evaluate_every: int | None = setting(
        None, TRAINING, Whole(1),
        "Number of epochs between evaluations on held-out data, each with a checkpoint; the last "
        "epoch has one too.",
        "so that they take about a tenth of the training time, but at least ten evaluations"
    )
    batch_size: int = setting(
        128, TRAINING, Whole(1, 2**31 - 1),
        "Rows per batch, over all processes; a step takes `accumulate` batches."
    )
    accumulate: int = setting(
        1, TRAINING, Whole(1, 2**31 - 1),
        "Number of batches per step, whose gradients are accumulated: a larger batch in the "
        "memory of one.", is_later=True
    )
    labelled: int | None = setting(
        None, TRAINING, Whole(1),
        "Number of labelled rows in each batch, if few rows have labels: these are repeated, all "
        "others are seen once per epoch.",
        "at random"
    )
    optimizer: Part = setting("Adam", TRAINING, Class(), "A class of torch.optim.")
    lr: float = setting(5e-3, TRAINING, Number(), "The learning rate.")
    schedule: Part = setting(
        "CosineAnnealingLR", TRAINING, Class(),
        "A class of torch.optim.lr_scheduler, stepped once per epoch, or none."
    )
    clip: float | None = setting(
        None, TRAINING, Number(), "The maximum norm of the gradient, in nats per datum.",
        "unclipped"
    )
    seed: int = setting(
        0, TRAINING, SEED, "The seed of initial weights, order of the data, and noise."
    )
    seeds: int | None = setting(
        None, TRAINING, Whole(1),
        "Number of seeds, from `seed` on, to fit with: a list of runs, in folders seed-N of `out`.",
        "one run, no list", is_recorded=False
    )
    start: str | Path | Opened | None = setting(
        None, TRAINING, Source(),
        "A run whose best weights are the initial weights: for more data, or another bound. Data "
        "are scaled as in that run.",
        "initial weights by `seed`"
    )
    device: Device = setting(
        "auto", MACHINE, Word(Device), "The device: auto, cpu, cuda or mps.", may_change=True
    )
    devices: int | None = setting(
        None, MACHINE, Whole(1), "The number of processes on each machine, with one device each.",
        "1; under torchrun or srun as many as they start per machine", may_change=True
    )
    nodes: int | None = setting(
        None, MACHINE, Whole(1), "The number of machines.",
        "1; under torchrun or srun the number of machines they use", may_change=True, is_later=True
    )
    threads: int | None = setting(
        None, MACHINE, Whole(1), "Threads of torch on a CPU.",
        "$OMP_NUM_THREADS, else 1 for small steps, or the number of cores",
        may_change=True
    )
    precision: Precision = setting(
        "32", MACHINE, Word(Precision),
        "32, 64, bf16-mixed (networks in bfloat16, densities in float32), or auto: bf16-mixed if "
        "the device has instructions for bfloat16, else 32."
    )
    compile: Compile = setting(
        "auto", MACHINE, Word(Compile),
        "Compile the training step: on, off, or auto (if it saves time)."
    )
    tensorboard: bool = setting(
        False, OUTPUT, SWITCH, "Also write TensorBoard events.", may_change=True
    )
    figures: Figures = setting(
        "both", OUTPUT, Word(Figures),
        "Format of figures: png, svg (for print and dark pages), or both.",
        is_recorded=False, may_change=True
    )
    tracker: str | Tracker | MetricsLogger | None = setting(
        None, OUTPUT, Tracking(),
        "A tracker of metrics: csv or tensorboard (loggers of Fabric, in the run's folder "
        "trackers), or in Python any object with log(metrics, step).",
        "none", is_recorded=False,
        may_change=True
    )
    out: str | Path | None = setting(
        None, OUTPUT, PLACE, "The run directory.", "runs/<data>-<time>", is_recorded=False
    )
    overwrite: bool = setting(
        False, OUTPUT, SWITCH, "Replace an existing run.", is_recorded=False,
        is_for_people=True
    )
    in_memory: bool = setting(
        False, OUTPUT, SWITCH,
        "Write no files: the run lasts as long as the returned object, and has no figures or "
        "report.", is_recorded=False, is_for_people=True, is_for_python=True
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
        "A module from which parts named in a file may be imported; can be repeated.",
        is_recorded=False, is_for_people=True, may_change=True
    )
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up >= self.passes:
            raise InputError(
                f"`warm_up` is {self.warm_up}, so none of the {self.passes} epochs has the full "
                "`beta`; shorten it, or take more `epochs`"
            )
        if self.in_memory and self.out is not None:
            raise InputError(
                f"`out` is {str(self.out)!r}, but with `in_memory=True` a run has no files: give "
                "one of the two"
            )
        if self.in_memory and isinstance(self.tracker, str):
            raise InputError(
                f"`tracker` is {self.tracker!r}, which writes files, but with `in_memory=True` a "
                "run has none: give `out`, or your own tracker"
            )
        if self.seeds is not None and not isinstance(self.tracker, (str, type(None))):
            raise InputError(
                f"`tracker` is one object, but `seeds={self.seeds}` makes several fits: fit each "
                "with its own `seed` and tracker"
            )
        for name in ("devices", "nodes"):
            value = getattr(self, name)
            if self.in_memory and value is not None and value > 1:
                raise InputError(
                    f"`{name}` is {value}, but with `in_memory=True` a run has one process: give "
                    f"`out`, or `{name}=1`"
                )
        if self.valid == "none" and self.patience is not None:
            raise InputError(
                f"`patience` is {self.patience}, but with `valid='none'` no rows are held out for "
                "early stopping; leave one of them out"
            )

    @classmethod
    def of_arguments(cls, *args: Any, **kwargs: Any) -> Self:
        """The given settings, which override those of their recipe."""
        named = dict(zip((each.name for each in fields(cls)), args, strict=False)) | kwargs
        if named.get("recipe") is not None:
            named = {**recipe(named["recipe"]).settings, **named}
        return cls(**named)

    @property
    def rows_per_step(self) -> int:
        """Rows per step, over all processes."""
        return self.batch_size * self.accumulate

    @property
    def passes(self) -> int:
        """Passes over the training data: ``epochs``, or the smallest default."""
        return LEAST_EPOCHS if self.epochs is None else self.epochs

    def laid_out(self, steps_per_epoch: int, *, is_anew: bool) -> Self:
        """These settings with ``epochs`` resolved: see `ppvae.settings.epochs.default_epochs`."""
        if self.epochs is not None:
            return self
        return replace(self, epochs=default_epochs(steps_per_epoch, is_anew=is_anew))

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """The weight of the KL at a step, counted from 0."""
        ramp = self.warm_up * steps_per_epoch
        return float(self.beta if step >= ramp else self.beta * step / ramp)

    @classmethod
    def of(cls, config: Mapping[str, Any], file: Path) -> Self:
        """The settings in ``config.yaml`` of a run.

        Raises:
            InputError: if one of them is missing or invalid.
        """
        recorded = {n: about for n, (_, about) in settings_of(cls).items() if about.is_recorded}
        kept = [n for n, about in recorded.items() if n in config or not about.is_later]
        missing = sorted(set(kept) - config.keys())
        if missing:
            raise InputError(f"{file} lacks {', '.join(missing)}; correct it, or fit again")
        try:
            return cls(**{name: config[name] for name in kept})
        except InputError as error:
            sentence = str(error).replace("`", "")
            raise InputError(f"{file}: {sentence}; correct it, or fit again") from error

    def recorded(self) -> dict[str, Any]:
        """The settings to record in ``config.yaml``, as given."""
        kept = settings_of(type(self))
        return {name: getattr(self, name) for name, (_, about) in kept.items() if about.is_recorded}
