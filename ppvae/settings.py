"""What a user sets: each setting of each command, with its type, default, values and sentence.

A setting is one field of a frozen dataclass. Flags, ``--config``, ``--help``, the keyword arguments
of the functions, the checks of plain values and the settings in ``config.yaml`` are all made from
these fields. Nothing here needs torch.
"""

import functools
import inspect
import math
import operator
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

from ppvae.errors import InputError, nearest

__all__ = [
    "Binarize",
    "Compare",
    "Compile",
    "Device",
    "Diagnose",
    "Encode",
    "FitCommand",
    "Part",
    "Precision",
    "Resume",
    "Sample",
    "Scale",
    "Setting",
    "Settings",
    "check_seed",
    "settings_of",
    "takes",
]

Binarize = Literal["none", "dynamic", "static", "threshold"]
Scale = Literal["none", "unit", "standardize"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "64", "bf16-mixed"]
Compile = Literal["auto", "on", "off"]

Part = str | Mapping[str, Any] | Callable[..., Any] | None
"""A part of the programs: a name, a mapping of YAML, a class, or a program itself."""


class Dataset(Protocol):
    """Data in memory, such as `ppvae.data.from_arrays` makes."""

    @property
    def name(self) -> str:
        """What it is called."""


class Rows(Protocol):
    """Rows in memory, such as `ppvae.data.as_split` makes."""

    def __len__(self) -> int: ...

    @property
    def extra_names(self) -> tuple[str, ...]:
        """What there is beside x."""


class Opened(Protocol):
    """A run that is open already, such as `ppvae.load` gives."""

    @property
    def path(self) -> Path:
        """Its directory."""


SEEDS = 2**32
"""Seeds are below this number: no generator takes more."""

_LEAST, _MOST = 1e-37, 1e37
"""The smallest and the largest positive number that single precision can invert."""


# What a setting may be


class Values:
    """What a setting may be: read from a word of a command or a value of YAML, and checked.

    Attributes:
        metavar: what ``--help`` calls a value.
    """

    metavar: str = "VALUE"

    def read(self, value: Any) -> Any:
        """The value that a word of a command line, or a value of YAML, stands for."""
        return value

    def checked(self, value: Any) -> Any:
        """The value, as Python's own types.

        Raises:
            ValueError: saying what it must be.
        """
        return value


@dataclass(frozen=True)
class Whole(Values):
    """Whole numbers of a range."""

    least: int = 0
    most: float = math.inf
    metavar = "N"

    def read(self, value: Any) -> Any:
        return _number(value) if isinstance(value, str) else value

    def checked(self, value: Any) -> int:
        limit = f"at least {self.least}"
        if self.most < math.inf:
            limit = f"from {self.least} to {self.most}"
        if self.most == SEEDS - 1:
            limit += " (2**32 - 1)"
        try:
            number = operator.index(value)
        except TypeError:
            number = None
        if number is None or isinstance(value, bool):
            raise ValueError(f"a whole number, {limit}")
        if not self.least <= number <= self.most:
            raise ValueError(limit)
        return number


@dataclass(frozen=True)
class Number(Values):
    """Numbers above 0, or with ``zero`` 0 too; finite, and in the range of single precision."""

    zero: bool = False
    metavar = "NUMBER"

    def read(self, value: Any) -> Any:
        return _number(value) if isinstance(value, str) else value

    def checked(self, value: Any) -> float:
        limit = "0 or more, and finite" if self.zero else "above 0 and finite"
        try:
            number = float(value) if not isinstance(value, (str, bool)) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None:
            raise ValueError(f"a number {limit}")
        if not (_LEAST <= number <= _MOST or (self.zero and number == 0)):
            raise ValueError(limit)
        return number


class Word(Values):
    """One of some words, those of a ``Literal``."""

    def __init__(self, words: Any) -> None:
        self.words: tuple[str, ...] = get_args(words)
        self.metavar = "WORD"

    def read(self, value: Any) -> Any:
        # YAML takes on and off for truth values, and 32 for a number.
        if isinstance(value, bool) and "on" in self.words:
            return "on" if value else "off"
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def checked(self, value: Any) -> str:
        if value not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}{nearest(str(value), self.words)}")
        return str(value)


class Text(Values):
    """Any words."""

    metavar = "NAME"

    def checked(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("a word")
        return value


class Place(Values):
    """A file or folder."""

    metavar = "PATH"

    def checked(self, value: Any) -> str | Path:
        if not isinstance(value, (str, Path)):
            raise ValueError("a path")
        return value


class Switch(Values):
    """On or off."""

    def checked(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value


class Several(Values):
    """Any number of words."""

    metavar = "NAME"

    def checked(self, value: Any) -> tuple[str, ...]:
        is_several = isinstance(value, Sequence) and not isinstance(value, str)
        if not is_several or not all(isinstance(each, str) for each in value):
            raise ValueError("a list of names")
        return tuple(value)


class Source(Values):
    """A name or a path, or in Python the thing itself."""

    metavar = "NAME"

    def read(self, value: Any) -> Any:
        if not isinstance(value, (str, type(None))):
            raise ValueError("a name or a path")
        return value


class Class(Values):
    """A class by name, with its arguments, or in Python the class or program itself."""

    metavar = "NAME"


def _number(text: str) -> Any:
    """The number that a word spells; the word itself if it spells none."""
    if not text.isascii() or "_" in text:
        return text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return text


# A setting


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its name, type and default.

    Attributes:
        group: the heading that it is listed under.
        values: what it may be.
        sentence: what it does.
        unset: what is done where it is ``None``, which is its default.
        is_recorded: whether ``config.yaml`` keeps it.
        is_for_people: whether a person alone may set it, and no file: it may be a stranger's.
        may_change: whether a fit that goes on may be given another.
    """

    group: str
    values: Values
    sentence: str
    unset: str = ""
    is_recorded: bool = True
    is_for_people: bool = False
    may_change: bool = False


def _set[T](
    default: T,
    group: str,
    values: Values,
    sentence: str,
    unset: str = "",
    *,
    recorded: bool = True,
    for_people: bool = False,
    may_change: bool = False,
) -> T:
    """A field with what is known of it: see `Setting`."""
    about = Setting(group, values, sentence, unset, recorded, for_people, may_change)
    found: T = field(default=default, metadata={"setting": about})
    return found


def _again(name: str, unset: str = "") -> Any:
    """A setting of a fit again, unset by default."""
    (about,) = (f.metadata["setting"] for f in fields(Settings) if f.name == name)
    return field(default=None, metadata={"setting": replace(about, unset=unset or about.unset)})


def _changed(name: str) -> Any:
    """A setting of a fit that goes on: unset, it is as it was."""
    if not settings_of(Settings)[name][1].may_change:
        raise TypeError(f"{name} cannot change in a fit that goes on")
    return _again(name, "as the fit was begun")


@dataclass(frozen=True)
class Checked:
    """Settings that are checked, one by one, when they are made.

    Raises:
        InputError: naming the setting, its value, and what it must be.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            about: Setting = each.metadata["setting"]
            try:
                object.__setattr__(self, each.name, about.values.checked(value))
            except ValueError as error:
                raise refusal(each.name, value, error) from error


def refusal(name: str, value: Any, must: object) -> InputError:
    """The sentence on a setting that is not what it must be."""
    shown = f"{value}" if isinstance(value, (int, float)) else repr(value)
    if len(shown) > 100:
        shown = f"{shown[:100]}..."
    return InputError(f"`{name}` is {shown}; it must be {must}")


def settings_of(kind: type[Checked]) -> dict[str, tuple[Field[Any], Setting]]:
    """The settings of a dataclass, by name."""
    return {each.name: (each, each.metadata["setting"]) for each in fields(kind)}


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse a seed that a generator does not take.

    Raises:
        InputError: for a seed that is negative or too large.
    """
    try:
        _SEED.checked(seed)
    except ValueError as error:
        raise refusal(name, seed, error) from error


_SEED = Whole(0, SEEDS - 1)

DATA, PROGRAMS, BOUND, TRAINING = "data", "programs", "bound", "training"
DRAWS, MACHINE, OUTPUT = "draws", "machine", "output"


# The settings of a fit


@dataclass(frozen=True)
class Settings(Checked):
    """The settings of a fit: what `ppvae.fit.fit` takes, and a run's ``config.yaml`` keeps."""

    # fmt: off
    data: str | Path | Dataset = _set(
        "digits", DATA, Source(),
        "The data: a known name (digits, mnist, fashion-mnist, kmnist, omniglot, binarized-mnist, "
        "or an image set of torchvision), or a path (.npy, .npz, .csv, a folder of images)."
    )
    data_dir: str | Path | None = _set(
        None, DATA, Place(), "The folder where published data lie, or are downloaded to.",
        "$PPVAE_DATA, or ~/.cache/ppvae", may_change=True
    )
    label: str | None = _set(
        None, DATA, Text(), "The column of a .csv that holds the labels.", "no labels"
    )
    labels: int | None = _set(
        None, DATA, Whole(1),
        "How many labels of the training data are kept, evenly over classes; the others, and all "
        "of the held-out data, are hidden.", "all of them"
    )
    binarize: Binarize | None = _set(
        None, DATA, Word(Binarize),
        "Binarize intensities: dynamic (drawn anew for training), static (drawn once), threshold "
        "(at 0.5), or none.",
        "dynamic for the digits under a likelihood of zeros and ones, else none"
    )
    scale: Scale | None = _set(
        None, DATA, Word(Scale),
        "Scale values: none (as they are), unit (divided by the largest there may be), or "
        "standardize (mean 0 and deviation 1 in training).", "by type, range and likelihood"
    )
    model: Part = _set(None, PROGRAMS, Class(), "The generative program p(x, z).", "VAE")
    prior: Part = _set(None, PROGRAMS, Class(), "The prior p(z).", "StandardNormal")
    likelihood: Part = _set(None, PROGRAMS, Class(), "The likelihood p(x | z).", "Bernoulli")
    decoder: Part = _set(
        None, PROGRAMS, Class(), "The network from z to the parameters of the likelihood.", "MLP"
    )
    guide: Part = _set(None, PROGRAMS, Class(), "The variational program q(z | x).", "MeanField")
    encoder: Part = _set(
        None, PROGRAMS, Class(), "The network from x to the parameters of the guide.",
        "an MLP of two hidden layers"
    )
    latent_dim: int = _set(20, PROGRAMS, Whole(1), "The number of latent dimensions.")
    elbo: Part = _set("TraceMeanField_ELBO", BOUND, Class(), "The bound that is climbed.")
    particles: int = _set(1, BOUND, Whole(1), "Draws of the latents per datum and step.")
    beta: float = _set(
        1.0, BOUND, Number(zero=True),
        "The weight of the KL in what is climbed; the bound is always reported at 1."
    )
    warm_up: int = _set(
        0, BOUND, Whole(), "Epochs over which the weight of the KL rises linearly from 0."
    )
    epochs: int = _set(100, TRAINING, Whole(1), "Passes over the training data.", may_change=True)
    patience: int | None = _set(
        None, TRAINING, Whole(1),
        "Stop after this many epochs without a better held-out objective.", "never", may_change=True
    )
    batch_size: int = _set(64, TRAINING, Whole(1), "Rows per step, all processes together.")
    optimizer: Part = _set("Adam", TRAINING, Class(), "A class of torch.optim.")
    lr: float = _set(2e-3, TRAINING, Number(), "The learning rate.")
    schedule: Part = _set(
        "CosineAnnealingLR", TRAINING, Class(),
        "A class of torch.optim.lr_scheduler, stepped once an epoch, or none."
    )
    clip: float | None = _set(
        None, TRAINING, Number(), "The largest norm of the gradient, in nats per datum.",
        "unclipped"
    )
    seed: int = _set(
        0, TRAINING, _SEED, "The seed of initial weights, order of the data, and noise."
    )
    device: Device = _set(
        "auto", MACHINE, Word(Device), "The device: auto, cpu, cuda or mps.", may_change=True
    )
    devices: int = _set(
        1, MACHINE, Whole(1), "The number of processes, each on a device of its own."
    )
    precision: Precision = _set(
        "32", MACHINE, Word(Precision),
        "32, 64, or bf16-mixed (networks in bfloat16, densities in float32)."
    )
    compile: Compile = _set(
        "auto", MACHINE, Word(Compile),
        "Compile the training step: on, off, or auto (where it wins back the time it takes)."
    )
    tensorboard: bool = _set(
        False, OUTPUT, Switch(), "Write TensorBoard events beside metrics.csv.", may_change=True
    )
    out: str | Path | None = _set(
        None, OUTPUT, Place(), "The run directory.", "runs/<data>-<time>", recorded=False
    )
    overwrite: bool = _set(
        False, OUTPUT, Switch(), "Replace a run that is there already.", recorded=False,
        for_people=True
    )
    oversubscribe: bool = _set(
        False, MACHINE, Switch(), "Allow more processes than there are cores.", recorded=False,
        for_people=True, may_change=True
    )
    trust: Sequence[str] = _set(
        (), PROGRAMS, Several(),
        "A module that parts named in a file may be imported from; can be repeated.",
        recorded=False, for_people=True, may_change=True
    )
    # fmt: on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up >= self.epochs:
            raise InputError(
                f"`warm_up` is {self.warm_up}, which leaves none of the {self.epochs} epochs at "
                "the full `beta`; shorten it, or take more `epochs`"
            )

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
        kept = [name for name, (_, about) in settings_of(cls).items() if about.is_recorded]
        missing = sorted(kept - config.keys())
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


@dataclass(frozen=True)
class FitCommand(Settings):
    """What the command takes beside the settings of a fit."""

    # fmt: off
    resume: str | None = _set(
        None, OUTPUT, Place(), "Go on with the fit in this run directory.", "a new fit",
        recorded=False, for_people=True
    )
    checkpoint: Literal["last", "best"] | None = _set(
        None, OUTPUT, Word(Literal["last", "best"]),
        "With --resume: last, or best where last is damaged.", "last", recorded=False,
        may_change=True
    )
    # fmt: on


@dataclass(frozen=True)
class Resume(Checked):
    """What `ppvae.fit.resume` takes: a run, and the settings that may change."""

    # fmt: off
    run: str | Path = field(metadata={"setting": Setting(DATA, Place(), "The run directory.")})
    epochs: int | None = _changed("epochs")
    patience: int | None = _changed("patience")
    data_dir: str | Path | None = _changed("data_dir")
    device: Device | None = _changed("device")
    tensorboard: bool | None = _changed("tensorboard")
    oversubscribe: bool | None = _changed("oversubscribe")
    trust: Sequence[str] | None = _changed("trust")
    model: Callable[..., Any] | None = _set(
        None, PROGRAMS, Class(), "The model itself, for a fit that was begun with an object.",
        "that of the run"
    )
    guide: Callable[..., Any] | None = _set(
        None, PROGRAMS, Class(), "The guide itself, likewise.", "that of the run"
    )
    data: Dataset | None = _set(
        None, DATA, Source(), "The data itself, likewise.", "that of the run"
    )
    checkpoint: Literal["last", "best"] = _set(
        "last", OUTPUT, Word(Literal["last", "best"]),
        "Where to go on from: last, or best where last is damaged."
    )
    # fmt: on

    def changes(self) -> dict[str, Any]:
        """The recorded settings that are given another value."""
        names = [name for name, (_, about) in settings_of(Settings).items() if about.is_recorded]
        changed = {n: getattr(self, n) for n in names if settings_of(Settings)[n][1].may_change}
        del changed["data_dir"]  # where the data lie now, which is this sitting's affair
        return {name: value for name, value in changed.items() if value is not None}


# The settings of what is asked of a run


def _run() -> Any:
    return {"setting": Setting(DATA, Source(), "The run directory.")}


def _rows_asked(what: str) -> Any:
    return _set(
        None, DATA, Source(), f"Other data to {what}, by name or path.", "the run's own data"
    )


def _split() -> Any:
    return _set(
        "test",
        DATA,
        Word(Literal["train", "valid", "test"]),
        "The part of the run's own data: train, valid or test.",
    )


def _where_data_lie(unset: str = "as in the fit") -> Any:
    return _set(None, DATA, Place(), "The folder where published data lie.", unset)


def _label() -> Any:
    return _set(None, DATA, Text(), "The column of a new .csv that holds the labels.", "no labels")


def _seed(of: str) -> Any:
    return _set(0, DRAWS, _SEED, f"The seed of {of}.")


def _device() -> Any:
    return _set("auto", MACHINE, Word(Device), "The device: auto, cpu, cuda or mps.")


def _checkpoint() -> Any:
    return _set(None, DATA, Text(), "The weights: best, last or step-N.", "the best there are")


def _out(what: str, unset: str) -> Any:
    return _set(None, OUTPUT, Place(), what, unset)


def _overwrite(what: str) -> Any:
    return _set(False, OUTPUT, Switch(), f"Replace {what} already there.", for_people=True)


def _trust() -> Any:
    return _set(
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
    run: str | Path | Opened | None = _set(
        None, DATA, Source(), "A run directory, whose program, data and settings are taken.",
        "a new program"
    )
    data: str | Path | Dataset | None = _set(
        None, DATA, Source(), "The data, as in ppvae.fit.", "digits"
    )
    data_dir: str | Path | None = _where_data_lie("as in ppvae.fit")
    label: str | None = _label()
    binarize: Binarize | None = _again("binarize")
    model: Part = _again("model")
    prior: Part = _again("prior")
    likelihood: Part = _again("likelihood")
    decoder: Part = _again("decoder")
    guide: Part = _again("guide")
    encoder: Part = _again("encoder")
    latent_dim: int | None = _again("latent_dim", "20")
    particles: int | None = _again("particles", "the run's, or 1")
    beta: float | None = _again("beta", "the run's, or 1")
    epochs: int = _set(10, TRAINING, Whole(1), "Passes over the training data in each climb.")
    batch_size: int | None = _again("batch_size", "the run's, or 64")
    lr: float | None = _again("lr", "the run's, or 0.002")
    seeds: int = _set(3, DRAWS, Whole(1), "Climbs of each bound.")
    seed: int = _seed("the first of them")
    draws: int = _set(100, DRAWS, Whole(4), "Draws of value and gradient at the same weights.")
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
    quick: bool = _set(
        False, DRAWS, Switch(), "Fewer data and draws: about a minute, with wider errors."
    )
    samples: int | None = _set(
        None, DRAWS, Whole(1), "Importance samples for log p(x).", "5,000, or 500 if quick"
    )
    only: Sequence[str] = _set(
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
    samples: int = _set(100, DRAWS, Whole(1), "Importance samples for log p(x).")
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
    count: int = _set(64, DRAWS, Whole(1), "The number of draws.")
    data: str | Path | Rows | None = _rows_asked("reconstruct")
    split: Literal["train", "valid", "test"] = _split()
    data_dir: str | Path | None = _where_data_lie()
    label: str | None = _label()
    pairs: int = _set(6, DRAWS, Whole(1), "Walks between two data.")
    steps: int = _set(9, DRAWS, Whole(2), "Points on a walk, its ends included.")
    given: str | None = _set(
        None, DRAWS, Text(),
        "What every draw is conditional on: a label, or covariates as numbers set off by commas.",
        "the labels or covariates of the rows themselves"
    )
    aggregate: bool = _set(
        False, DRAWS, Switch(),
        "Draw z from a mixture of normals fitted to the codes of the training data."
    )
    components: int = _set(10, DRAWS, Whole(1), "The number of normals in that mixture.")
    impute: bool = _set(False, DRAWS, Switch(), "Fill in the missing entries of the data instead.")
    samples: int = _set(1000, DRAWS, Whole(1), "Importance samples for each datum to impute.")
    seed: int = _seed("the draws")
    checkpoint: str | None = _checkpoint()
    out: str | Path | None = _out("The folder to write to.", "RUN/samples")
    overwrite: bool = _overwrite("files that are")
    trust: Sequence[str] = _trust()
    # fmt: on


# A function of settings


def takes[**P, S: Checked, R](
    settings: Callable[P, S],
) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Decorator: what takes ``settings`` takes their fields instead, as arguments of its own."""

    def decorate(function: Callable[[S], R]) -> Callable[P, R]:
        names = inspect.signature(settings).parameters

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs.keys() - names:
                raise TypeError(
                    f"{function.__name__} has no argument {name!r}{nearest(name, names)}"
                )
            return function(settings(*args, **kwargs))

        described = inspect.signature(function).return_annotation
        signature = inspect.signature(settings).replace(return_annotation=described)
        vars(called)["__signature__"] = signature
        called.__doc__ = _documented(function.__doc__ or "", settings_of(settings))  # type: ignore[arg-type]  # a class of settings
        return called

    return decorate


def _documented(text: str, settings: Mapping[str, tuple[Field[Any], Setting]]) -> str:
    """A docstring with the settings as its arguments."""
    lines = [
        textwrap.fill(
            f"{name}: {told(*each)}", 100, initial_indent=" " * 8, subsequent_indent=" " * 12,
            break_on_hyphens=False, break_long_words=False,
        )
        for name, each in settings.items()
    ]  # fmt: skip
    before, mark, after = text.partition("    Raises:\n")
    arguments = "\n".join(["    Args:", *lines])
    return f"{before.rstrip()}\n\n{arguments}\n\n    {mark.lstrip()}{after}"


def told(each: Field[Any], about: Setting) -> str:
    """The sentence of a setting, with its default."""
    default = about.unset if each.default is None else each.default
    if default is MISSING or default is False or default == ():
        return about.sentence
    return f"{about.sentence.removesuffix('.')} (default: {default})."
