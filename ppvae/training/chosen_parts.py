"""The parts of a fit, however they were expressed: by name, with arguments, or as objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ppvae.components.factory import Factory, factory_of
from ppvae.components.kinds import KINDS
from ppvae.components.names import DEFAULTS
from ppvae.components.spec import Spec
from ppvae.data import Data
from ppvae.errors import InputError
from ppvae.programs import Program
from ppvae.settings import Part, Settings


@dataclass(frozen=True)
class Chosen:
    """What a fit is made of.

    Attributes:
        programs: of each part of model and guide the choice, the program itself, or ``None``: the
            default.
        elbo: makes the bound.
        optimizer: makes the optimizer.
        schedule: makes the learning-rate schedule; ``None``: the rate is constant.
    """

    programs: Mapping[str, Spec | Program | None]
    elbo: Factory
    optimizer: Factory
    schedule: Factory | None

    def recorded(self) -> dict[str, object]:
        """How ``config.yaml`` names what climbs."""
        return {
            "elbo": self.elbo.spec.plain(),
            "optimizer": self.optimizer.spec.plain(),
            "schedule": None if self.schedule is None else self.schedule.spec.plain(),
        }


def chosen_parts(settings: Settings) -> Chosen:
    """The parts that the settings name.

    Raises:
        InputError: for a name or an argument that is none.
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
    """The parts of the programs, with those that nobody named as the data ask for them.

    A table of real numbers is fitted by `Gaussian`, one of counts by `NegativeBinomial`, one of
    zeros and ones by `Bernoulli`, and any other by `PerColumn`, where the model takes a likelihood;
    so are arrays of rows in memory. Where there are covariates by name, the model is conditional on
    them.
    """
    suited = dict(programs)
    if data.schema.covariates and programs.get("model") is None:
        suited["model"] = Spec("ConditionalVAE")
    families = {"real": "Gaussian", "count": "NegativeBinomial", "binary": "Bernoulli"}
    kinds = {"binary" if c.levels == ("0", "1") else c.kind for c in data.columns or ()}
    if not kinds and data.source is not None and data.source.is_object and len(data.shape) == 1:
        kinds = {{"standardized": "real", "counts": "count"}.get(data.scaling.kind, "binary")}
    if kinds and programs.get("likelihood") is None and _takes_one(suited.get("model"), trust):
        family = families.get(kinds.pop(), "PerColumn") if len(kinds) == 1 else "PerColumn"
        suited["likelihood"] = Spec(family)
    return suited


def _takes_one(model: Spec | Program | None, trust: Iterable[str]) -> bool:
    """Whether a model is made here, and of a likelihood."""
    if not isinstance(model, Spec | None):
        return False
    return factory_of(KINDS["model"], model or DEFAULTS["model"], trust).names("likelihood")


def is_per_column(programs: Mapping[str, Spec | Program | None]) -> bool:
    """Whether each column of a table has a family of its own."""
    likelihood = programs.get("likelihood")
    return isinstance(likelihood, Spec) and likelihood.class_path == "PerColumn"


def recorded_parts(config: Mapping[str, object], trust: Iterable[str]) -> Chosen:
    """What climbs in the fit of a run, by its ``config.yaml``; its programs the run makes itself.

    Raises:
        InputError: for what is none, or is not trusted.
    """

    def factory(kind: str) -> Factory:
        return factory_of(KINDS[kind], Spec.parse(config.get(kind), kind, trusted=False), trust)

    schedule = None if config.get("schedule") is None else factory("schedule")
    return Chosen({}, factory("elbo"), factory("optimizer"), schedule)


def part_of(kind: str, value: Part | Spec) -> Spec | Program | None:
    """A choice, however it was expressed; a program that was handed in whole stays itself."""
    if value is None or isinstance(value, Spec):
        return value
    if isinstance(value, (str, Mapping)):
        return Spec.parse(value, kind)
    if isinstance(value, type):
        names = KINDS[kind].names()
        own = names.get(value.__name__) is value
        return Spec(value.__name__ if own else f"{value.__module__}.{value.__qualname__}")
    if not KINDS[kind].is_program:
        raise InputError(
            f"`{kind}` is {value!r}; give its class or class name, or compose the model (or guide) "
            "in Python and hand in that"
        )
    return value


def factory_for(kind: str, value: Part | Spec, trust: Iterable[str]) -> Factory:
    """Resolve a part that is made by name.

    Raises:
        InputError: if it is none.
    """
    choice = part_of(kind, value)
    if not isinstance(choice, Spec):
        raise InputError(f"`{kind}` is {value!r}; give a class name")
    return factory_of(KINDS[kind], choice, trust)
