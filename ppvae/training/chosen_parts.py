"""Parts of a fit, given by name, with arguments, or as objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ppvae.components.factory import Factory, factory_of
from ppvae.components.initial_pca import GUIDES, LIKELIHOODS, MOST
from ppvae.components.kinds import KINDS
from ppvae.components.names import DEFAULTS, default_of
from ppvae.components.spec import Spec
from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.models import VAE
from ppvae.programs import Program
from ppvae.settings import Part, Settings


@dataclass(frozen=True)
class Chosen:
    """The parts of a fit.

    Attributes:
        programs: the choice for each part of model and guide, an object, or ``None`` for the
            default.
        elbo: makes the bound.
        optimizer: makes the optimizer.
        schedule: makes the learning-rate schedule; ``None``: a constant rate.
    """

    programs: Mapping[str, Spec | Program | None]
    elbo: Factory
    optimizer: Factory
    schedule: Factory | None

    def recorded(self) -> dict[str, object]:
        """Bound, optimizer and schedule as recorded in ``config.yaml``."""
        return {
            "elbo": self.elbo.spec.plain(),
            "optimizer": self.optimizer.spec.plain(),
            "schedule": None if self.schedule is None else self.schedule.spec.plain(),
        }


def chosen_parts(settings: Settings) -> Chosen:
    """The parts that the settings name.

    Raises:
        InputError: for an unknown name or argument.
    """
    programs = {name: part_of(name, getattr(settings, name)) for name in DEFAULTS}
    elbo = factory_for("elbo", settings.elbo, settings.trust)
    optimizer = factory_for("optimizer", settings.optimizer, settings.trust)
    schedule = part_of("schedule", settings.schedule)
    is_constant = schedule is None or (isinstance(schedule, Spec) and schedule.class_path == "none")
    if isinstance(schedule, Spec) and is_constant and schedule.init_args:
        raise InputError(
            f"`schedule.{next(iter(schedule.init_args))}` has no effect with `schedule='none'`; "
            "leave it out, or name a schedule"
        )
    pace = None if is_constant else factory_for("schedule", settings.schedule, settings.trust)
    return Chosen(programs, elbo, optimizer, pace)


def suited_programs(
    programs: Mapping[str, Spec | Program | None], data: Data, trust: Iterable[str] = ()
) -> dict[str, Spec | Program | None]:
    """The parts of the programs, with defaults that suit the data.

    A table of real numbers is fitted by `Gaussian`, one of counts by `NegativeBinomial`, one of
    zeros and ones by `Bernoulli`, and any other, or one with given ``families``, by `PerColumn`,
    where the model takes a likelihood; so are arrays of rows in memory. Where there are covariates
    by name, the model is conditional on them. Where `start_at_pca` knows the programs, networks of
    rows of real numbers have a shortcut. Arguments given without a class are those of the class
    chosen here.
    """
    suited = dict(programs)
    if data.schema.covariates and _is_free(programs.get("model")):
        suited["model"] = _default("ConditionalVAE", programs.get("model"))
    families = {"real": "Gaussian", "count": "NegativeBinomial", "binary": "Bernoulli"}
    kinds = {"binary" if c.levels == ("0", "1") else c.kind for c in data.columns or ()}
    if not kinds and data.source is not None and data.source.is_object and len(data.shape) == 1:
        kinds = {{"standardized": "real", "counts": "count"}.get(data.scaling.kind, "binary")}
    likelihood = programs.get("likelihood")
    if kinds and _is_free(likelihood) and _takes_one(suited.get("model"), trust):
        own = likelihood.init_args if isinstance(likelihood, Spec) else {}
        is_one = len(kinds) == 1 and not (data.columns and "families" in own)
        family = families.get(kinds.pop(), "PerColumn") if is_one else "PerColumn"
        suited["likelihood"] = _default(family, likelihood)
    if len(data.shape) == 1 and data.shape[0] <= MOST and _may_start_at_pca(suited):
        for part in ("decoder", "encoder"):
            if _is_free(choice := programs.get(part)):
                suited[part] = _with_shortcut(part, choice)
    return suited


def _may_start_at_pca(programs: Mapping[str, Spec | Program | None]) -> bool:
    """Whether model, likelihood and guide are among those of `start_at_pca`, by name."""
    known = {"model": (VAE,), "likelihood": LIKELIHOODS, "guide": GUIDES}
    for part, classes in known.items():
        choice = programs.get(part)
        spec = DEFAULTS[part] if choice is None else choice
        names = [each.__name__ for each in classes]
        if not isinstance(spec, Spec) or spec.class_path not in names:
            return False
    return True


def _with_shortcut(part: str, choice: Spec | Program | None) -> Spec:
    """The default network, with the arguments that were chosen and a shortcut."""
    spec = choice if isinstance(choice, Spec) else DEFAULTS[part]
    return replace(spec, init_args={"shortcut": True, **spec.init_args})


def _is_free(choice: Spec | Program | None) -> bool:
    """Whether no class was chosen."""
    return choice is None or (isinstance(choice, Spec) and choice.is_default)


def _default(name: str, choice: Spec | Program | None) -> Spec:
    """The class for the data, with the arguments that were chosen."""
    return replace(choice, class_path=name) if isinstance(choice, Spec) else Spec(name)


def _takes_one(model: Spec | Program | None, trust: Iterable[str]) -> bool:
    """Whether the model is built here, from a likelihood."""
    if not isinstance(model, Spec | None):
        return False
    return factory_of(KINDS["model"], model or DEFAULTS["model"], trust).names("likelihood")


def is_per_column(programs: Mapping[str, Spec | Program | None]) -> bool:
    """Whether each column of a table has its own family."""
    likelihood = programs.get("likelihood")
    return isinstance(likelihood, Spec) and likelihood.class_path == "PerColumn"


def recorded_parts(config: Mapping[str, object], trust: Iterable[str]) -> Chosen:
    """Bound, optimizer and schedule of a run, by its ``config.yaml``; the run builds the programs.

    Raises:
        InputError: for unknown or untrusted classes.
    """

    def factory(kind: str) -> Factory:
        return factory_of(KINDS[kind], Spec.parse(config.get(kind), kind, trusted=False), trust)

    schedule = None if config.get("schedule") is None else factory("schedule")
    return Chosen({}, factory("elbo"), factory("optimizer"), schedule)


def part_of(kind: str, value: Part | Spec) -> Spec | Program | None:
    """A choice in any form; a program object stays itself."""
    if value is None or isinstance(value, Spec):
        return value
    if isinstance(value, (str, Mapping)):
        return _plain_spec(kind, Spec.parse(value, kind, default=default_of(kind)))
    if isinstance(value, type):
        names = KINDS[kind].names()
        own = names.get(value.__name__) is value
        return Spec(value.__name__ if own else f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, partial) and isinstance((flat := _flattened(value)).func, type):
        return _of_partial(kind, flat)
    if not KINDS[kind].is_program:
        raise InputError(
            f"`{kind}` is {value!r}; give its class, a partial of the class with arguments by "
            "name, or its name, or compose the model (or guide) in Python and pass that"
        )
    return value


def _flattened(value: partial[Any]) -> partial[Any]:
    """A partial of a partial as one; Python itself keeps two if the inner one has attributes."""
    while isinstance(inner := value.func, partial):
        value = partial(inner.func, *inner.args, *value.args, **inner.keywords | value.keywords)
    return value


def _of_partial(kind: str, value: partial[Any]) -> Spec:
    """The class of a ``partial`` with its keywords as arguments.

    Raises:
        InputError: for positional arguments, and values that no file can hold.
    """
    name = value.func.__name__
    if value.args:
        raise InputError(
            f"`{kind}` is a partial of {name} with the positional argument {value.args[0]!r}; give "
            f"each argument by its name, as in partial({name}, name=value)"
        )
    chosen = part_of(kind, value.func)
    assert isinstance(chosen, Spec)  # of a class
    return _plain_spec(kind, replace(chosen, init_args=value.keywords))


def _plain_spec(kind: str, spec: Spec) -> Spec:
    """The part with arguments that ``config.yaml`` can hold."""
    arguments = {}
    for argument, given in spec.init_args.items():
        try:
            arguments[argument] = _plain(given)
        except TypeError as error:
            raise InputError(
                f"`{kind}.{argument}` is {given!r:.80}, which config.yaml cannot hold; give "
                "numbers, words, lists and mappings, or compose the model (or guide) in Python"
            ) from error
    return replace(spec, init_args=arguments)


def _plain(value: object) -> object:
    """The value as YAML can write it, which knows no subclasses of numbers and words.

    Raises:
        TypeError: for any other value.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(map(_plain, value))
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(type(value))


def factory_for(kind: str, value: Part | Spec, trust: Iterable[str]) -> Factory:
    """Resolve a part that is given by name.

    Raises:
        InputError: if the name is unknown.
    """
    choice = part_of(kind, value)
    if not isinstance(choice, Spec):
        raise InputError(f"`{kind}` is {value!r}; give a class name")
    return factory_of(KINDS[kind], choice, trust)
